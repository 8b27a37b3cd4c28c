"""Layer-wise distillation against numpy."""

import copy

import numpy as np
import pytest
import torch
from memory_log import DCNV2, DNN, PLAIN

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.training import DistillationLoss, TrainingSettings, train
from spark_ctr.training.distillation import match_layers


@pytest.fixture
def pair(inputs):
    teacher = build_network(
        "dcnv2", inputs, {**DCNV2, "hidden_layers": [12, 10, 8, 6], "dropout": 0.5}, seed=1
    )
    student = build_network("dnn", inputs, {**DNN, "hidden_layers": [7, 5], "dropout": 0.0}, seed=2)
    return teacher, student


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (3, 3, [1, 2, 3]),
        (2, 4, [2, 4]),
        (3, 5, [2, 3, 5]),
        (2, 3, [2, 3]),
        (4, 2, [1, 1, 2, 2]),
        (3, 1, [1, 1, 1]),
        (0, 3, []),
        (3, 0, []),
    ],
)
def test_layers_are_matched_in_proportion(student, teacher, expected):
    assert match_layers(student, teacher) == expected


def numpy_layer_norm(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("epoch", [0, 1, 3, 4, 9])
def test_loss_by_hand(pair, make_rows, epoch):
    teacher, student = pair
    loss = DistillationLoss(
        teacher, student, logit_weight=0.7, layer_weights=[0.3, 0.2], decay_epochs=4, seed=3
    )
    assert loss.matched == {"hidden_0": "hidden_1", "hidden_1": "hidden_3"}
    loss.before_epoch(epoch)
    rows = make_rows(9)
    with torch.no_grad():
        zs, hs = student.hidden(rows.ids, rows.numeric)
        zt, ht = teacher.hidden(rows.ids, rows.numeric)
        got = float(loss(student, rows))
    zs, zt, y = (t.double().numpy()[:, 0] for t in (zs, zt, rows.label))
    w = rows.weight.double().numpy()
    w = w / w.sum()
    p = 1 / (1 + np.exp(-zs))
    expected = -np.sum(w * (y * np.log(p) + (1 - y) * np.log(1 - p)))
    expected += 0.7 * np.sum(w * (zs - zt) ** 2)
    decay = max(0.0, 1 - epoch / 4)
    for b, s, t, projection in zip(
        (0.3, 0.2), ("hidden_0", "hidden_1"), ("hidden_1", "hidden_3"), loss.terms[2].projections,
        strict=True,
    ):  # fmt: skip
        matrix = projection.weight.detach().double().numpy()
        gap = numpy_layer_norm(hs[s].double().numpy() @ matrix.T)
        gap -= numpy_layer_norm(ht[t].double().numpy())
        expected += decay * b * np.sum(w * (gap**2).mean(1))
    assert got == pytest.approx(expected, rel=1e-5)


def test_teacher_stays_and_projections_are_not_the_students(pair, make_rows, memory_feed):
    teacher, student = pair
    teacher_before = copy.deepcopy(teacher.state_dict())
    names = list(student.state_dict())
    loss = DistillationLoss(teacher, student, layer_weights=0.1, decay_epochs=2)
    projections = [p.detach().clone() for p in loss.parameters()]
    assert [tuple(p.shape) for p in projections] == [(10, 7), (6, 5)]
    feed = memory_feed(make_rows(200), 32, seed=0)
    settings = TrainingSettings(**PLAIN, max_epochs=1, weight_decay=0.1, device="cpu")
    train(student, feed, None, settings, loss=loss)
    assert list(student.state_dict()) == names
    assert not teacher.training
    assert all(torch.equal(teacher_before[k], v) for k, v in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(projections, loss.parameters(), strict=True))


def test_teacher_is_deterministic_while_the_student_trains(pair, make_rows):
    teacher, student = pair
    loss = DistillationLoss(teacher, student, layer_weights=0.1)
    teacher.train()
    loss.before_epoch(0)
    rows = make_rows(16)
    student.train()
    loss.train()
    assert loss(student, rows) == loss(student, rows)


def test_student_follows_the_teacher(inputs, make_rows, memory_feed):
    teacher = build_network("dcnv2", inputs, {**DCNV2, "hidden_layers": [32, 16]}, seed=1)
    feed = memory_feed(make_rows(3000, 1), 128, seed=0)
    settings = TrainingSettings(**PLAIN, learning_rate=0.01, max_epochs=3, device="cpu")
    train(teacher, feed, None, settings)
    rows = make_rows(1000, 5)

    def gap(logit_weight):
        student = build_network("dnn", inputs, {**DNN, "hidden_layers": [16, 8]}, seed=2)
        loss = DistillationLoss(teacher, student, logit_weight=logit_weight)
        train(student, feed, None, settings, loss=loss)
        with torch.no_grad():
            difference = student(rows.ids, rows.numeric) - teacher(rows.ids, rows.numeric)
        return float(difference.square().mean())

    assert gap(2.0) < gap(0.0)


def test_networks_without_hidden_layers_leave_the_logit_term(inputs, make_rows):
    teacher = build_network("dnn", inputs, DNN, seed=0)
    loss = DistillationLoss(teacher, build_network("lr", inputs), layer_weights=1.0)
    assert loss.matched == {} and list(loss.parameters()) == []
    shallow = DistillationLoss(build_network("lr", inputs), teacher, layer_weights=1.0)
    assert list(shallow.parameters()) == []
    assert torch.isfinite(shallow(teacher, make_rows(5)))


def test_global_random_state_is_kept(pair):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, two = (DistillationLoss(*pair, layer_weights=0.1, seed=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_bad_arguments(pair):
    teacher, student = pair
    other = build_network("dnn", Inputs((Table("x", 3, 2),), ()), DNN)
    with pytest.raises(ValueError, match="same columns"):
        DistillationLoss(teacher, other, layer_weights=0.1)
    with pytest.raises(ValueError, match="layer_weights.*hidden_0"):
        DistillationLoss(teacher, student, layer_weights=[0.1])
    with pytest.raises(ValueError, match="layer_weights"):
        DistillationLoss(teacher, student, layer_weights=-1.0)
    with pytest.raises(ValueError, match="decay_epochs"):
        DistillationLoss(teacher, student, layer_weights=0.1, decay_epochs=0)

"""Terms of distillation one by one against numpy, and what of the networks runs for them."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from memory_log import DCNV2, DNN, INPUTS, click_rows

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.training.distillation import DISTILLATION, DistillationLoss, distillation
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import click_loss
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.losses.hidden import matched_layers
from spark_ctr.training.nonfinite import explain

ONLY_LOGITS = {"layer_weights": 0.0, "click_weight": 0.0, "logit_weight": 1.0}


def networks(student=None, teacher=None, members=1):
    deep = {**DCNV2, "hidden_layers": [12, 10, 8], "cross_layers": 3, "members": members}
    small = {**DCNV2, "hidden_layers": [7, 5], "cross_layers": 2, "dropout": 0.0}
    return (
        build_network("dcnv2", INPUTS, deep | (teacher or {}), seed=1),
        build_network("dcnv2", INPUTS, small | (student or {}), seed=2),
    )


def rows_with(tasks=1, rows=13, further=7, seed=0):
    """Rows with the logits of a teacher, and further ones without labels."""
    draw = torch.Generator().manual_seed(seed)
    known, unlabelled = click_rows(rows, seed), click_rows(further, seed + 1)
    unlabelled = replace(
        unlabelled,
        label=torch.zeros(further, tasks),
        known=torch.zeros(further, tasks, dtype=torch.bool),
        teacher=torch.randn(further, tasks, generator=draw),
    )
    label = known.label.repeat(1, tasks)
    teacher = torch.randn(rows, tasks, generator=draw)
    return replace(known, label=label, teacher=teacher, unlabelled=unlabelled)


class Runs:
    """Counts the passes of a network, and the rows of each."""

    def __init__(self, network):
        self.rows = []
        of = network._outputs
        network._outputs = lambda ids, numeric: (self.rows.append(len(ids)), of(ids, numeric))[1]


def by_hand(kind, temperature, own, teacher, weight):
    """Distance of logits [B, T] in numpy."""
    z, wanted, w = (t.detach().double().numpy() for t in (own, teacher, weight))
    if kind == "mse":
        distance = (z - wanted) ** 2
    else:
        p, q = (1 / (1 + np.exp(-x / temperature)) for x in (wanted, z))
        distance = -(temperature**2) * (p * np.log(q) + (1 - p) * np.log(1 - q))
    return float((w[:, None] * distance).sum() / w.sum())


@given(
    st.sampled_from(["mse", "cross_entropy"]),
    st.floats(0.25, 8.0),
    st.floats(0.0, 3.0),
    st.floats(0.125, 4.0),
    st.sampled_from([1, 2]),
    st.integers(0, 2**31),
)
def test_logits_by_hand(kind, temperature, further, weight, tasks, seed):
    student = networks()[1] if tasks == 1 else build_two_tasks()
    rows = rows_with(tasks, seed=seed)
    loss = distillation(
        None,
        **ONLY_LOGITS | {"logit_weight": weight},
        logit_loss=kind,
        temperature=temperature,
        unlabelled_weight=further,
    ).loss(student)
    assert len(loss.terms) == 1
    wanted = 0.0
    for part, factor in ((rows, weight), (rows.unlabelled, weight * further)):
        z = student(part.ids, part.numeric)
        wanted += factor * by_hand(kind, temperature, z, part.teacher, part.weight)
    assert float(loss(student, rows).detach()) == pytest.approx(wanted, rel=1e-4)


def build_two_tasks():
    """A network of a user's own, of two tasks and without layers."""
    return build_network("tests.training.two_tasks:TwoTasks", INPUTS, seed=5)


def test_cross_entropy_is_least_at_the_teachers_logits_and_pulls_alike_at_any_temperature():
    wanted = torch.tensor([[-1.0], [0.5], [2.0]])
    gradients = []
    for temperature in (1.0, 64.0):
        _, student = networks()
        z = wanted.clone().requires_grad_()
        student.forward = lambda ids, numeric, z=z: z
        rows = replace(click_rows(3), teacher=wanted)
        loss = distillation(
            None, **ONLY_LOGITS, logit_loss="cross_entropy", temperature=temperature
        ).loss(student)
        (at_teacher,) = torch.autograd.grad(loss(student, rows), z)
        torch.testing.assert_close(at_teacher, torch.zeros(3, 1), atol=1e-5, rtol=0)
        z.data += 1e-1
        gradients.append(torch.autograd.grad(loss(student, rows), z)[0])
    # At a high temperature it is a quarter of the gradient of half the squared difference.
    weight = rows.weight[:, None] / rows.weight.sum()
    torch.testing.assert_close(gradients[1], 0.25 * 0.1 * weight, rtol=1e-2, atol=1e-6)
    assert (gradients[0] > 0).all()


def test_the_rows_own_logits_go_before_the_networks():
    teacher, student = networks()
    rows = rows_with()
    runs = Runs(teacher)
    loss = distillation(teacher, **ONLY_LOGITS).loss(student)
    from_rows = loss(student, rows)
    assert runs.rows == []
    assert torch.equal(from_rows, distillation(None, **ONLY_LOGITS).loss(student)(student, rows))
    computed = teacher.eval()(rows.ids, rows.numeric).detach()
    further = teacher(rows.unlabelled.ids, rows.unlabelled.numeric).detach()
    runs.rows.clear()
    without = replace(rows, teacher=None, unlabelled=replace(rows.unlabelled, teacher=None))
    found = loss(student, without)
    assert runs.rows == [13, 7]
    given = replace(rows, teacher=computed, unlabelled=replace(rows.unlabelled, teacher=further))
    assert torch.equal(found, loss(student, given))


def test_rows_without_labels_run_only_where_a_term_asks():
    _, student = networks()
    student.eval()
    runs = Runs(student)
    rows = rows_with()
    for options, passes in (
        ({"unlabelled_weight": 0.5}, [13, 7]),
        ({"unlabelled_weight": 0.0}, [13]),
        ({"logit_weight": 0.0, "unlabelled_weight": 0.5}, [13]),
    ):
        runs.rows.clear()
        distillation(None, layer_weights=0.0, **options).loss(student)(student, rows)
        assert runs.rows == passes
    clicks = distillation(None, layer_weights=0.0, logit_weight=0.0).loss(student)
    assert torch.equal(clicks(student, rows), click_loss(student, rows))
    assert torch.equal(Objective().loss(student)(student, rows), click_loss(student, rows))


@pytest.mark.parametrize(
    ("kind", "rows"), [(BatchNorm, 13), (BatchNorm, 1), (torch.nn.BatchNorm1d, 13)]
)
def test_rows_without_labels_have_no_part_in_batch_normalisation(kind, rows):
    student = networks(student={"batch_norm": True})[1].train()
    for layer in student.mlp.layers.values():
        norm = kind(layer.norm.num_features)
        norm.load_state_dict(layer.norm.state_dict())
        layer.norm = norm
    batch = rows_with(rows=rows)
    alone = copy.deepcopy(student)
    one = distillation(None, layer_weights=0.0, unlabelled_weight=0.0).loss(alone)(
        alone, replace(batch, unlabelled=None)
    )
    loss = distillation(None, layer_weights=0.0, unlabelled_weight=0.5).loss(student)
    both = loss(student, batch)
    # A single row is normalised by running statistics, which must be as they were to go back.
    both.backward()
    assert both > one
    for name, value in alone.named_buffers():
        assert torch.equal(value, student.get_buffer(name)), name


def layer_norm(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def layers_by_hand(term, own, wanted, weight, shares):
    """Sum of the distances of layers; `shares` [own layers, layers that each follows]."""
    w = (weight / weight.sum()).double().numpy()
    projections, total = iter(term.projections), 0.0
    for i, (name, others) in enumerate(term.followed.items()):
        for share, other in zip(shares[i], others, strict=True):
            matrix = next(projections).weight.detach().double().numpy()
            gap = layer_norm(own[name].detach().double().numpy() @ matrix.T)
            gap -= layer_norm(wanted[other].detach().double().numpy())
            total += term.layer_weights[i] * share * float((w * (gap**2).mean(1)).sum())
    return total


def term_of(options, teacher, student, weight=1.0):
    terms = (TermSettings("hidden", weight, {"decay_epochs": 4, **options}),)
    loss = Objective(terms, {"teacher": teacher}).loss(student)
    return loss, loss.terms[0]


@pytest.mark.parametrize("layers", ["hidden", "cross"])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    ("pairing", "numbers"), [("uniform", [2, 3]), ([3, 1], [3, 1]), ([2, 2], [2, 2])]
)
def test_pairings_by_hand(layers, members, pairing, numbers):
    teacher, student = networks(members=members)
    options = {"layers": layers, "pairing": pairing, "layer_weights": [0.3, 0.2], "seed": 3}
    loss, term = term_of(options, teacher, student, 2.0)
    names = [f"{layers}_{n - 1}" for n in numbers]
    assert term.matched == dict(zip([f"{layers}_0", f"{layers}_1"], names, strict=True))
    rows = click_rows(9)
    own, wanted = (n.hidden(rows.ids, rows.numeric)[1] for n in (student, teacher))
    loss.before_epoch(1)
    expected = 0.75 * layers_by_hand(term, own, wanted, rows.weight, np.ones((2, 1)))
    assert term.layer_weights == [0.6, 0.4]
    assert float(loss(student, rows).detach()) == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_a_learned_pairing_by_hand(values):
    teacher, student = networks()
    loss, term = term_of({"pairing": "learned", "layer_weights": 0.5}, teacher, student)
    assert term.mixture.shape == (2, 3) and not term.mixture.any()
    term.mixture.data = torch.tensor(values).reshape(2, 3)
    rows = click_rows(9)
    own, wanted = (n.eval().hidden(rows.ids, rows.numeric)[1] for n in (student, teacher))
    raw = np.exp(np.array(values).reshape(2, 3))
    shares = raw / raw.sum(1, keepdims=True)
    found = loss(student, rows)
    assert float(found.detach()) == pytest.approx(
        layers_by_hand(term, own, wanted, rows.weight, shares), rel=1e-4
    )
    found.backward()
    assert term.mixture.grad.abs().sum() > 0
    # Shares add up to 1, so that only their differences matter.
    torch.testing.assert_close(term.mixture.grad.sum(1), torch.zeros(2), atol=1e-5, rtol=0)
    best = term.mixture.argmax(1).tolist()
    assert list(term.matched.values()) == [f"hidden_{i}" for i in best]


def test_a_learned_pairing_finds_the_nearer_layer():
    teacher, student = networks()
    loss, term = term_of({"pairing": "learned"}, teacher, student)
    rows = click_rows(64)
    descent = torch.optim.Adam(loss.parameters(), 0.05)
    for _ in range(60):
        descent.zero_grad()
        loss(student.eval(), rows).backward()
        descent.step()
    shares = torch.softmax(term.mixture.detach(), 1)
    assert shares.max() > 0.5


@pytest.mark.parametrize("members", [1, 2])
def test_embeddings_by_hand(members):
    teacher, student = networks(members=members)
    loss, term = term_of({"layers": "embedding", "layer_weights": 0.4}, teacher, student)
    assert [tuple(p.weight.shape) for p in term.projections] == [(10 * members, 10)]
    rows = click_rows(9)
    parts = teacher.members if members > 1 else [teacher]
    wanted = torch.cat([part.embedding(rows.ids) for part in parts], 1)
    runs = Runs(teacher), Runs(student)
    found = loss(student, rows)
    assert runs[0].rows == runs[1].rows == []
    expected = layers_by_hand(
        term, {"embedding": student.embedding(rows.ids)}, {"embedding": wanted}, rows.weight, [[1]]
    )
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_the_student_alone():
    teacher, student = networks(members=2)
    loss = distillation(
        teacher, pairing="learned", embedding_weight=0.1, cross_weight=0.2, click_weight=0.0
    ).loss(student)
    rows = rows_with()
    rows = replace(rows, teacher=None, unlabelled=replace(rows.unlabelled, teacher=None))
    loss(student, rows).backward()
    assert all(p.grad is None for p in teacher.parameters())
    for name, p in [*student.named_parameters(), *loss.named_parameters()]:
        assert p.grad is not None and p.grad.to_dense().any(), name


def test_the_teacher_rests_once_layers_no_longer_count():
    teacher, student = networks()
    loss = distillation(
        teacher, decay_epochs=2, cross_weight=0.1, embedding_weight=0.1, pairing="learned"
    ).loss(student)
    runs = Runs(teacher)
    for epoch, passes in enumerate([1, 1, 0, 0]):
        runs.rows.clear()
        loss.before_epoch(epoch)
        loss(student, rows_with())
        assert len(runs.rows) == passes


def test_terms_without_weight_are_left_out():
    teacher, _ = networks()

    def names(**options):
        terms = distillation(teacher, **options).terms
        return [(term.name, term.options.get("layers")) for term in terms]

    click, logits, hidden = ("click", None), ("logits", None), ("hidden", None)
    assert names() == [click, logits]
    assert names(layer_weights=0.1) == [click, logits, hidden]
    assert names(click_weight=0, layer_weights=[0, 0]) == [logits]
    assert names(logit_weight=0, layer_weights=0) == [click]
    assert names(layer_weights=0, cross_weight=1, embedding_weight=2) == [
        click,
        logits,
        ("hidden", "cross"),
        ("hidden", "embedding"),
    ]
    with pytest.raises(ValueError, match="click_weight and logit_weight are both 0"):
        distillation(teacher, click_weight=0, logit_weight=0)
    for weight in ("layer_weights", "cross_weight", "embedding_weight"):
        with pytest.raises(ValueError, match=rf"{weight}.* must be 0"):
            distillation(None, **{"layer_weights": 0.0} | {weight: 0.1})


def test_settings_are_those_of_the_function():
    defaults = {k: v for k, v in distillation.__kwdefaults__.items() if k in DISTILLATION}
    assert defaults == {key: setting.default for key, setting in DISTILLATION.items()}
    assert all(setting.doc for setting in DISTILLATION.values())
    pairing = DISTILLATION["pairing"]
    assert pairing.value("pairing", np.array([2, 1])) == [2, 1]
    for wrong, error in (("other", ValueError), (3, TypeError), ([1.5], ValueError)):
        with pytest.raises(error, match="pairing must be 'uniform', 'learned' or a list"):
            pairing.value("pairing", wrong)


def test_an_objective_with_all_options_travels_as_json():
    teacher, student = networks()
    objective = distillation(
        teacher,
        logit_loss="cross_entropy",
        temperature=2.0,
        unlabelled_weight=0.5,
        pairing=(3, 1),
        embedding_weight=0.1,
        cross_weight=0.2,
    )
    terms = json.loads(json.dumps(objective.to_dicts()))
    again = Objective.from_dicts(terms, objective.frozen)
    one, two = (each.loss(student)(student, rows_with()) for each in (objective, again))
    assert torch.equal(one, two)


@pytest.mark.parametrize("pairing", [[1], [1, 4], [0, 1], [1, 2, 3]])
def test_a_pairing_that_does_not_fit_is_named(pairing):
    teacher, student = networks()
    named = r"hidden_0', 'hidden_1'\] and the one it follows \['hidden_0', 'hidden_1', 'hidden_2'"
    with pytest.raises(ValueError, match=named):
        distillation(teacher, layer_weights=0.1, pairing=pairing).loss(student)
    with pytest.raises(ValueError, match=named):
        matched_layers(student, teacher, pairing)


def test_the_map_of_layers_before_training():
    teacher, student = networks()
    assert matched_layers(student, teacher) == {"hidden_0": "hidden_1", "hidden_1": "hidden_2"}
    given = matched_layers(student, teacher, [1, 3])
    assert given == {"hidden_0": "hidden_0", "hidden_1": "hidden_2"}
    assert DistillationLoss(teacher, student, layer_weights=0.1, pairing=[1, 3]).matched == given
    assert set(matched_layers(student, teacher, "learned").values()) == {"learned"}


@pytest.mark.parametrize("pairing", ["learned", [1]])
def test_a_pairing_of_networks_without_such_layers_is_refused(pairing):
    teacher, _ = networks()
    student = build_network("dnn", INPUTS, DNN | {"hidden_layers": [4]}, seed=0)
    for own, other in (
        (student, build_network("lr", INPUTS)),
        (build_network("lr", INPUTS), teacher),
    ):
        with pytest.raises(ValueError, match=r"does not fit: the network has the layers \["):
            distillation(other, layer_weights=0.1, pairing=pairing).loss(own)
        rows = click_rows(5)
        assert distillation(other, pairing=pairing, layer_weights=0).loss(own)(own, rows) > 0
    # Nothing to compare uniformly is no error.
    loss = distillation(teacher, cross_weight=0.5, layer_weights=0).loss(student)
    assert list(loss.parameters()) == []


def test_embeddings_that_cannot_be_compared_are_named():
    teacher, student = networks()
    other = build_network("dnn", Inputs((Table("x", 3, 2),), ()), DNN)
    with pytest.raises(ValueError, match="same columns"):
        distillation(other, embedding_weight=0.1).loss(student)
    renamed = Inputs((replace(INPUTS.tables[0], rows=13), *INPUTS.tables[1:]), INPUTS.numeric)
    teacher.embedding = build_network("dnn", renamed, DNN).embedding
    with pytest.raises(ValueError, match="embed other tables.*'rows': 13"):
        distillation(teacher, layer_weights=0, embedding_weight=0.1).loss(student)
    del teacher.embedding
    with pytest.raises(ValueError, match=r"teacher \(dcnv2\) has no EmbeddingTables"):
        distillation(teacher, layer_weights=0, embedding_weight=0.1).loss(student)
    with pytest.raises(ValueError, match=r"the network \(tests.*TwoTasks\) has no EmbeddingTables"):
        two = build_two_tasks()
        distillation(two, layer_weights=0, embedding_weight=0.1).loss(two)


def test_what_is_missing_is_named():
    teacher, student = networks()
    rows = rows_with()
    loss = distillation(None, layer_weights=0).loss(student)
    with pytest.raises(ValueError, match="no logits of a teacher and the objective no network"):
        loss(student, replace(rows, teacher=None))
    with pytest.raises(ValueError, match="have 2 logits of the teacher each"):
        loss(student, replace(rows, teacher=torch.zeros(13, 2)))
    with pytest.raises(ValueError, match="the network 'teacher': there is none"):
        Objective((TermSettings("hidden", options={"decay_epochs": 1}),)).loss(student)
    for options, message in (
        ({"logit_loss": "kl"}, "loss must be one of 'mse', 'cross_entropy'"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"unlabelled_weight": -1}, "unlabelled_weight must be at least 0"),
        ({"click_weight": -1}, "weight of Click"),
        ({"cross_weight": -1}, "weight of HiddenDistance"),
    ):
        with pytest.raises(ValueError, match=message):
            distillation(teacher, **options).loss(student)


def test_what_is_not_finite_is_named():
    _, student = networks()
    rows = rows_with()
    teacher = rows.teacher.clone()
    teacher[4] = float("nan")
    error = str(explain(float("nan"), student, replace(rows, teacher=teacher), "step 3", 0.1))
    assert "in step 3: logits of the teacher are nan" in error and "row 4 of the batch" in error
    further = replace(rows.unlabelled, numeric=rows.unlabelled.numeric.clone())
    further.numeric[2, 1] = float("inf")
    error = str(explain(float("nan"), student, replace(rows, unlabelled=further), "step 3", 0.1))
    assert "in step 3, rows without labels: numeric column(s) ['price'] hold nan" in error
    assert "row 2 of the batch" in error
    assert "learning rate" in str(explain(float("inf"), student, rows, "step 3", 0.1))


def test_a_batch_moves_with_all_its_parts():
    moved = rows_with().to(torch.device("meta"))
    for part in (moved, moved.unlabelled):
        values = vars(part).values()
        assert {v.device.type for v in values if isinstance(v, torch.Tensor)} == {"meta"}
    assert isinstance(moved.unlabelled, Batch) and moved.unlabelled.teacher.shape == (7, 1)

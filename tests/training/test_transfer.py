"""A student's first weights: its teacher's function where that fits, the best part of it else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.distillation.ladder import drawn_rows
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.training.transfer import start_from

INPUTS = Inputs((Table("site", 40, 6), Table("ad", 30, 6), Table("city", 9, 4)), ("age", "hour"))
BAGS = Inputs(
    (
        Table("site", 40, 6, slots=2, signed=True),
        Table("words", 30, 6, slots=3, pooling="sum", padded=True),
        Table("one", 20, 4, shared="both"),
        Table("two", 20, 4, shared="both"),
    ),
    ("age",),
)


def rows(inputs, n=3000):
    return tuple(map(torch.from_numpy, drawn_rows(inputs, n, seed=1)))


def teacher(name, inputs, seed=0, **config):
    """Build a network whose tables and layers are as far apart as trained ones."""
    network = build_network(name, inputs, {"dropout": 0.0, "batch_norm": False, **config}, seed)
    with RandomDraws(seed).drawing(), torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    return network


def logits(network, batch):
    with torch.no_grad():
        return network(*batch)[:, 0]


def gap(student, other, batch):
    """Mean squared difference of the logits, as a share of the variance of the other's."""
    wanted = logits(other, batch)
    return float((logits(student, batch) - wanted).square().mean() / wanted.var())


@pytest.mark.parametrize("inputs", [INPUTS, BAGS], ids=["columns", "bags"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", ["dnn", "dcnv2"])
def test_a_student_of_the_teachers_size_starts_as_the_teacher(name, inputs, batch_norm):
    followed = teacher("dnn", inputs, hidden_layers=[16, 8])
    config = {"hidden_layers": [16, 8], "batch_norm": batch_norm, "dropout": 0.3}
    student = build_network(name, inputs, config | ({"cross_layers": 1} if name == "dcnv2" else {}))
    batch = rows(inputs)
    assert start_from(student, [followed], *batch) == ["tables", "layers"]
    assert gap(student, followed, batch) < 1e-3
    assert gap(student, followed, tuple(x[:500] for x in rows(inputs, 5000))) < 2e-3


def test_a_smaller_student_starts_near_an_ensemble():
    config = {"members": 3, "hidden_layers": [24, 12], "batch_norm": False}
    ensemble = build_network("dnn", INPUTS, config)
    for seed, member in enumerate(ensemble.members):
        member.load_state_dict(
            teacher("dnn", INPUTS, seed, hidden_layers=[24, 12]).state_dict()
        )
    small = Inputs(tuple(replace(t, dim=3) for t in INPUTS.tables), INPUTS.numeric)
    student = build_network("dnn", small, {"hidden_layers": [12, 6], "dropout": 0.0}, 5)
    batch, unseen = rows(INPUTS), tuple(x[-500:] for x in rows(INPUTS, 4000))
    drawn = gap(student, ensemble, unseen)
    start_from(student, [ensemble], *batch, layers=False)
    start_from(student, [ensemble], *batch)
    assert gap(student, ensemble, unseen) < min(0.7, 0.7 * drawn)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), dim=st.integers(1, 12), members=st.integers(1, 3), rows=st.integers(2, 30)
)
def test_tables_are_principal_components(seed, dim, members, rows):
    inputs = Inputs((Table("site", rows, 4),), ())
    teachers = [build_network("dnn", inputs, None, seed + i) for i in range(members)]
    small = Inputs((Table("site", rows, dim),), ())
    student = build_network("dnn", small, None, seed)
    ids = torch.from_numpy(np.random.default_rng(seed).integers(0, rows, (200, 1), dtype=np.int32))
    before = student.embedding.weights[0].weight.detach().clone()
    start_from(student, teachers, ids, torch.zeros(200, 0), layers=False)
    wide = np.concatenate([t.embedding.weights[0].weight.detach().numpy() for t in teachers], 1)
    chosen = wide[ids[:, 0]].astype(np.float64)
    _, spread, axes = np.linalg.svd(chosen - chosen.mean(0), full_matrices=False)
    kept = min(dim, len(axes))
    expected = (wide - chosen.mean(0)) @ axes[:kept].T
    found = student.embedding.weights[0].weight.detach()
    # Axes of equal spread may be turned into one another, and each may be mirrored.
    clear = spread[:kept] > 1e-6 * spread[0]
    apart = np.abs(np.diff(np.append(spread, 0.0)))[:kept] > 1e-3 * spread[0]
    for axis in np.flatnonzero(clear & apart & np.append(True, apart[:-1])):
        own = found[:, axis].numpy()
        sign = np.sign(own @ expected[:, axis])
        np.testing.assert_allclose(own, sign * expected[:, axis], atol=1e-5)
    assert torch.equal(found[:, 4 * members :], before[:, 4 * members :])


def test_what_networks_do_not_share_is_left_as_it_is():
    batch = rows(INPUTS)
    for student, followed, set_parts in (
        ("lr", "dnn", []),
        ("fm", "dnn", ["tables"]),
        ("dnn", "fm", ["tables"]),
        ("dnn", "lr", []),
    ):
        network = build_network(student, INPUTS, None, 3)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        assert start_from(network, [build_network(followed, INPUTS)], *batch) == set_parts
        changed = [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]
        tables = ["embedding.weights.0.weight", "embedding.weights.1.weight"]
        assert sorted(changed) == (tables if set_parts else [])


def test_numbers_alone_give_layers():
    inputs = Inputs((), ("age", "hour", "price"))
    followed = teacher("dnn", inputs, hidden_layers=[8])
    student = build_network("dnn", inputs, {"hidden_layers": [8], "batch_norm": True})
    batch = rows(inputs)
    assert start_from(student, [followed], *batch) == ["layers"]
    assert gap(student, followed, batch) < 1e-3


def test_the_teacher_stays_and_the_start_is_the_same_each_time():
    followed = teacher("dnn", INPUTS, hidden_layers=[16, 8])
    before = {key: value.clone() for key, value in followed.state_dict().items()}
    students = [build_network("dnn", INPUTS, {"hidden_layers": [6]}, 1) for _ in "12"]
    for student in students:
        start_from(student, [followed], *rows(INPUTS))
        assert not student.training
    states = [student.state_dict() for student in students]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert all(torch.equal(value, before[k]) for k, value in followed.state_dict().items())

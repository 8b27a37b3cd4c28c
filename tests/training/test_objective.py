"""Objectives: terms by name, what they add up to, and how they travel."""

import json
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_log import DCNV2, DNN, INPUTS, MemoryFeed, click_rows
from torch import nn

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.distillation import distillation
from spark_ctr.training.loss import click_loss, weighted_bce, weighted_mean
from spark_ctr.training.losses import Objective, Term, TermSettings
from spark_ctr.training.losses.hidden import HiddenDistance

SETTINGS = TrainingSettings(
    learning_rate=0.02,
    max_epochs=3,
    patience=3,
    seed=4,
    embedding_l2=1e-3,
    average_weights=True,
    recalibrate=True,
    device="cpu",
    precision="float32",
)
# Of the code before there were terms: losses of the epochs, of training and validation.
GOLDEN = {
    ("click", 1): (
        [0.7534706664809946, 0.5666050662731292, 0.512415889344034],
        [0.6393642437083318, 0.6182867852194214, 0.6363162504197305],
    ),
    ("click", 2): (
        [0.729875543302539, 0.5891053427747315, 0.5194705017489064],
        [0.6404721559850456, 0.626346420261227, 0.6320756002876048],
    ),
    ("distillation", 1): (
        [1.5919165264418367, 0.863463576530334, 0.7266855883986537],
        [0.6738555766274567, 0.6713784470470344, 0.6774712308937909],
    ),
    ("distillation", 2): (
        [1.068100035192965, 0.74165011376428, 0.7248126084150488],
        [0.6739311771719233, 0.669985045179625, 0.6708966623526303],
    ),
}


def teacher_and_student(members=1):
    deep = DCNV2 | {"hidden_layers": [12, 10, 8, 6], "dropout": 0.5}
    small = DNN | {"hidden_layers": [7, 5], "members": members}
    teacher = build_network("dcnv2", INPUTS, deep, seed=1)
    return teacher, build_network("dnn", INPUTS, small, seed=2)


@pytest.mark.parametrize(("kind", "members"), GOLDEN)
def test_training_gives_the_figures_of_before(kind, members):
    if kind == "click":
        config = {"hidden_layers": [16, 8], "dropout": 0.3, "batch_norm": True, "members": members}
        network = build_network("dcnv2", INPUTS, DCNV2 | config, seed=7)
        objective = Objective((TermSettings("click", options={"logit_shift": 0.4}),))
    else:
        teacher, network = teacher_and_student(members)
        weights = {"logit_weight": 0.7, "layer_weights": [0.3, 0.2], "decay_epochs": 2}
        objective = distillation(teacher, **weights, logit_shift=0.3, seed=3)
    feeds = MemoryFeed(click_rows(256, 1), 32, seed=3), MemoryFeed(click_rows(128, 2), 64)
    history = train(network, *feeds, SETTINGS, loss=objective.loss(network))
    learned, validated = GOLDEN[kind, members]
    assert [epoch["train_loss"] for epoch in history.epochs] == pytest.approx(learned, rel=1e-4)
    assert [epoch["valid_loss"] for epoch in history.epochs] == pytest.approx(validated, rel=1e-4)


weights = st.floats(0.0, 4.0, width=32)


@settings(max_examples=20)
@given(logit=weights, layers=st.lists(weights, min_size=2, max_size=2), shift=st.floats(-1, 1))
def test_terms_add_up_to_the_bits_of_the_sum_written_out(logit, layers, shift):
    teacher, student = teacher_and_student()
    rows = click_rows(17, 3)
    loss = distillation(
        teacher, logit_weight=logit, layer_weights=layers, decay_epochs=3, logit_shift=shift
    ).loss(student)
    loss.before_epoch(1)
    found = loss(student, rows)
    found.backward()
    gradients = [p.grad.to_dense() for p in student.parameters()]
    student.zero_grad()
    zs, hs = student.hidden(rows.ids, rows.numeric)
    with torch.no_grad():
        zt, ht = teacher.hidden(rows.ids, rows.numeric)
    expected = weighted_bce(zs, rows.label, rows.weight, shift)
    expected = expected + logit * weighted_mean((zs - zt).square(), rows.weight)
    # Terms without weight are left out.
    hidden = [term for term in loss.terms if isinstance(term, HiddenDistance)]
    assert len(hidden) == any(layers) and len(loss.terms) == 1 + (logit > 0) + any(layers)
    term = hidden[0] if hidden else None
    matched = list(term.matched.items()) if term else []
    for i, (own, other) in enumerate(matched):
        maps, b = term.projections[i], layers[i]
        pair = maps(hs[own]), ht[other]
        normed = [nn.functional.layer_norm(h, h.shape[1:]) for h in pair]
        gap = (normed[0] - normed[1]).square().mean(1)
        expected = expected + (1.0 - 1 / 3) * b * weighted_mean(gap, rows.weight)
    assert torch.equal(found, expected)
    expected.backward()
    assert all(
        torch.equal(p.grad.to_dense(), gradient)
        for p, gradient in zip(student.parameters(), gradients, strict=True)
    )


@pytest.mark.parametrize("members", [1, 3])
def test_clicks_alone_are_the_trainers_own_loss(members):
    network = build_network("deepfm", INPUTS, {"members": members, "dropout": 0.0}, seed=2)
    rows = click_rows(40)
    assert torch.equal(Objective().loss(network)(network, rows), click_loss(network, rows))


class Confident(Term):
    """A term of another package: how far the logits are from 0."""

    def forward(self, outputs) -> Iterable[torch.Tensor]:
        return [self.weight * outputs.logits.square().mean()]


def test_an_objective_travels_as_json():
    teacher, student = teacher_and_student()
    objective = distillation(teacher, layer_weights=[0.3, 0.2], seed=9)
    own = TermSettings(f"{__name__}:Confident", 0.5)
    objective = Objective((*objective.terms, own), objective.frozen)
    terms = json.loads(json.dumps(objective.to_dicts()))
    again = Objective.from_dicts(terms, objective.frozen)
    assert again == objective
    rows = click_rows(20)
    one, two = (each.loss(student)(student, rows) for each in (objective, again))
    assert torch.equal(one, two)
    without = Objective(objective.terms[:-1], objective.frozen).loss(student)(student, rows)
    expected = without + 0.5 * student(rows.ids, rows.numeric).square().mean()
    assert torch.equal(one, expected)


def test_frozen_networks_are_no_part_of_the_loss():
    teacher, student = teacher_and_student()
    loss = distillation(teacher.train(), layer_weights=0.1).loss(student)
    assert not teacher.training
    assert {name.split(".")[2] for name in loss.state_dict()} == {"projections"}


def test_what_cannot_be_compared_is_refused():
    teacher, student = teacher_and_student()
    student.tasks = ("click", "buy")
    with pytest.raises(ValueError, match="teacher and the network must have the same tasks"):
        Objective((TermSettings("logits"),), {"teacher": teacher}).loss(student)
    with pytest.raises(ValueError, match="weight of Click must be >= 0"):
        Objective((TermSettings("click", -1.0),)).loss(student)

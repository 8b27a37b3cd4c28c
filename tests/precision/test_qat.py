"""Quantisation-aware networks, sensitivity and plans."""

import json

import pytest
import torch
from torch.nn import functional

from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.index8 import index8_fake_quantise, index8_scale
from spark_ctr.precision.qat import Index8Embedding, Index8Linear, prepare, quantisable_layers
from spark_ctr.precision.schedule import BinarySchedule
from spark_ctr.precision.sensitivity import (
    Sensitivity,
    binary_candidates,
    choose_plan,
    measure_sensitivity,
)
from spark_ctr.training.optimizers import Optimizers

HIDDEN = [f"mlp.layers.hidden_{i}.linear" for i in range(4)]


def test_prepare_copies(make_network, make_batch):
    network, batch = make_network("dnn"), make_batch()
    before = network(batch.ids, batch.numeric)
    plan = {"embedding.weights.2": "int8", HIDDEN[0]: "int8", HIDDEN[1]: "binary"}
    quantised = prepare(network, plan)
    assert isinstance(quantised.embedding.weights[2], Index8Embedding)
    assert isinstance(quantised.get_submodule(HIDDEN[0]), Index8Linear)
    assert isinstance(quantised.get_submodule(HIDDEN[1]), BinaryLinear)
    assert HIDDEN[2] in quantisable_layers(quantised)
    assert not (set(plan) & set(quantisable_layers(quantised)))
    with torch.no_grad():
        for parameter in quantised.parameters():
            parameter.zero_()
    assert torch.equal(network(batch.ids, batch.numeric), before)
    assert not quantised.training and prepare(network.train(), plan).training


def test_embeddings_have_a_scale_for_each_column(make_network):
    network = make_network("dnn")
    rows = network.embedding.weights[2].weight  # 50 rows of site, 1 row of one
    quantised = prepare(network, {"embedding.weights.2": "int8"}).embedding.weights[2]
    assert quantised.rows == [50, 1]
    values = quantised(torch.tensor([[49, 50]]))[0]
    table = rows[:50].detach()
    assert torch.equal(values[0], index8_fake_quantise(table, index8_scale(table))[49])
    step = rows[50].abs().max().item() / 127
    assert 0 < (values[1] - rows[50]).abs().max() <= step / 2 + 1e-6


def test_columns_that_share_rows_share_a_scale(make_network, make_batch):
    network, batch = make_network("lr", "slots"), make_batch("slots")
    quantised = prepare(network, {"embedding.weights.0": "int8"})
    layer = quantised.embedding.weights[0]
    assert layer.rows == [50, 30, 9, 9, 40, 20, 9, 30]
    table = network.embedding.weights[0].weight[-30:].detach()
    assert layer.scale[-1] == index8_scale(table)
    # Looked up, each row is within half a step of its own table's scale.
    exact = network.embedding(batch.ids).detach()
    error = (quantised.embedding(batch.ids).detach() - exact).abs().max(0).values
    for c, table in enumerate(network.inputs.tables):
        steps = table.slots if table.pooling == "sum" else 1
        assert error[c] <= steps * layer.scale.max() / 2 + 1e-6


def test_int8_network_is_close_to_fp32(make_network, make_batch):
    network, batch = make_network("deepfm"), make_batch()
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    quantised = prepare(network, plan, (batch.ids, batch.numeric))
    exact = network(batch.ids, batch.numeric)
    error = (quantised(batch.ids, batch.numeric) - exact).std() / exact.std()
    assert 0 < error < 0.02


@pytest.mark.parametrize("name", ["dnn", "dcnv2", "deepfm"])
def test_training_lowers_the_loss(name, make_network, make_batch):
    network, batch = make_network(name, dropout=0.0), make_batch()
    plan = dict.fromkeys(quantisable_layers(network), "int8") | {HIDDEN[1]: "binary"}
    quantised = prepare(network, plan, (batch.ids, batch.numeric)).train()
    schedule = BinarySchedule(quantised)
    optimiser = Optimizers(quantised, [], 0.01, weight_decay=0.0, embedding_l2=0.0, clip_norm=None)
    losses = []
    for epoch in range(12):
        schedule.before_epoch(epoch)
        logits = quantised(batch.ids, batch.numeric)
        losses.append(functional.binary_cross_entropy_with_logits(logits, batch.label))
        optimiser.zero_grad()
        (losses[-1] + schedule.regularisation()).backward()
        for key, parameter in quantised.named_parameters():
            if parameter.numel():
                assert parameter.grad is not None, key
        optimiser.step()
    assert losses[-1] < losses[1]  # both on binary weights but for the first epoch


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"mlp.layers.hidden_9.linear": "int8"}, "does not have"),
        ({"output": "int4"}, "'int8' or 'binary'"),
        ({"embedding.weights.0": "binary"}, "may say 'int8'"),
    ],
)
def test_prepare_refuses_a_wrong_plan(plan, message, make_network):
    with pytest.raises(ValueError, match=message):
        prepare(make_network("dnn"), plan)


def test_candidates_lie_between_hidden_layers(make_network):
    assert binary_candidates(make_network("lr")) == []
    for name in ("dnn", "dcnv2", "deepfm"):
        assert binary_candidates(make_network(name)) == HIDDEN[1:]
    assert binary_candidates(make_network("dnn", hidden_layers=[8])) == []


def test_sensitivity_is_the_increase_of_the_weighted_log_loss(make_network, make_batch):
    network, batch = make_network("dnn"), make_batch(rows=300)
    second = make_batch(rows=300, seed=5)
    found = measure_sensitivity(network, iter([batch, second]), max_rows=400)
    assert found.rows == 400 and found.layers == quantisable_layers(network)

    def loss(model):
        total = weight = 0.0
        for part, rows in ((batch, 300), (second, 100)):
            p = torch.sigmoid(model(part.ids[:rows], part.numeric[:rows])).double()
            y, w = part.label[:rows].double(), part.weight[:rows, None].double()
            total -= (w * (y * p.log() + (1 - y) * (1 - p).log())).sum()
            weight += w.sum()
        return (total / weight).item()

    assert found.log_loss == pytest.approx(loss(network), rel=1e-5)
    assert list(found.increase) == HIDDEN[1:]
    for name, increase in found.increase.items():
        one = prepare(network, {name: "binary"}, (batch.ids, batch.numeric))
        assert increase == pytest.approx(loss(one) - loss(network), abs=1e-5)
    assert json.loads(json.dumps(found.to_dict()))["increase"] == found.increase


def test_sensitivity_finds_the_layer_that_matters(make_network, make_batch):
    """A layer that already is binary costs nothing, another one does."""
    network, batch = make_network("dnn", hidden_layers=[16, 16, 16]), make_batch()
    # Inputs in {0, c} and weights of one magnitude: exactly what a 1-bit layer can hold.
    with torch.no_grad():
        first = network.mlp.layers["hidden_0"].linear
        first.weight.zero_()
        first.bias.copy_(torch.tensor([0.5, -0.5] * 8))
        second = network.mlp.layers["hidden_1"].linear
        second.weight.copy_(second.weight.sign() * 0.2)
    found = measure_sensitivity(network, [batch])
    assert found.increase[HIDDEN[1]] == pytest.approx(0, abs=1e-6)
    assert abs(found.increase[HIDDEN[2]]) > 1e-4


def test_sensitivity_needs_rows(make_network, make_batch):
    with pytest.raises(ValueError, match="validation rows"):
        measure_sensitivity(make_network("dnn"), [])
    batch = make_batch(rows=3)
    batch.weight.zero_()
    with pytest.raises(ValueError, match="positive weight"):
        measure_sensitivity(make_network("dnn"), [batch])


@pytest.mark.parametrize(
    ("share", "binary"),
    [(0.0, ""), (0.5, "bd"), (0.6, "bd"), (0.75, "bcd"), (1.0, "abcd"), (0.125, "d")],
)
def test_plan_takes_the_least_sensitive_layers(share, binary):
    increase = {"a": 0.4, "b": 0.1, "c": 0.3, "d": 0.1}
    plan = choose_plan(Sensitivity(10, 0.5, increase, ["e", "a", "b", "c", "d", "o"]), share)
    assert list(plan) == ["e", "a", "b", "c", "d", "o"]
    assert {name for name, kind in plan.items() if kind == "binary"} == set(binary)
    assert set(plan.values()) <= {"int8", "binary"}


def test_plan_refuses_a_share_out_of_range():
    with pytest.raises(ValueError, match="binary_share"):
        choose_plan(Sensitivity(1, 0.5, {}, []), 1.5)

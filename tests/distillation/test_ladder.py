"""The ladder of student sizes: what is chosen by which measured times."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.distillation.ladder import (
    LADDER,
    drawn_rows,
    largest_within,
    pick,
    time_per_row,
)
from spark_ctr.tables import Inputs, Table

INPUTS = Inputs((Table("site", 60, 16), Table("tag", 9, 3, slots=2, signed=True)), ("age",))


@given(
    st.lists(st.floats(0.01, 9.0), min_size=len(LADDER), max_size=len(LADDER)),
    st.floats(0.01, 9.0),
)
def test_the_largest_rung_within_the_target_is_chosen(times, target):
    falling = dict(zip(LADDER, sorted(times, reverse=True), strict=True))
    within = [rung for rung in LADDER if falling[rung] <= target]
    if not within:
        message = f"within {target:.3g} micro.*takes {falling[LADDER[-1]]:.3g} on this"
        with pytest.raises(ValueError, match=message):
            largest_within(falling.__getitem__, target)
        return
    choice = largest_within(falling.__getitem__, target)
    assert choice.rung == within[0] and choice.target == target
    assert choice.measured == {rung: falling[rung] for rung in choice.measured}
    assert choice.rung in choice.measured and len(choice.measured) <= 4
    assert json.loads(json.dumps(choice.to_dict()))["hidden_layers"] == [*within[0].hidden_layers]


def test_drawn_rows_are_valid():
    ids, numeric = drawn_rows(INPUTS, 500)
    assert (ids.dtype, numeric.dtype) == (np.int32, np.float32)
    INPUTS.id_range.check(ids)
    assert numeric.shape == (500, 1) and ids[:, 1:].min() < 0


@pytest.mark.parametrize(
    ("network", "config"),
    [("dnn", {"batch_norm": True}), ("deepfm", {}), ("dcnv2", {"cross_layers": 2})],
)
def test_a_network_keeps_its_other_settings(network, config, monkeypatch):
    built = []
    monkeypatch.setattr(
        "spark_ctr.distillation.ladder.predictor_of", lambda of: built.append(of) or of.forward
    )

    def measure(predict, inputs):
        assert inputs == INPUTS and predict == built[-1].forward
        return float(sum(p.numel() for p in built[-1].parameters()))

    sizes = 1e9
    choice = pick(network, config, INPUTS, target_latency=sizes, measure=measure)
    assert choice.rung == LADDER[0]
    assert built[-1].config["hidden_layers"] == [400, 400]
    assert config.items() <= built[-1].config.items()
    share = pick(network, config, INPUTS, target_share=0.01, teacher_time=2e6, measure=measure)
    assert share.target == 2e4 and share.measured[share.rung] <= 2e4
    assert {tuple(t.dim for t in of.inputs.tables) for of in built} >= {(16, 3), (8, 3)}


def test_what_serves_is_measured():
    def measure(predict, inputs):
        assert predict(*drawn_rows(inputs, 5)).shape == (5, 1)
        return 1.0

    threads = torch.get_num_threads()
    assert pick("dnn", {}, INPUTS, target_latency=1.0, measure=measure).rung == LADDER[0]
    seen = []

    def predict(ids, numeric):
        seen.append((torch.get_num_threads(), len(ids)))
        return numeric

    assert time_per_row(predict, INPUTS) > 0
    assert {*seen} == {(1, 8192)} and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("network", "targets", "message"),
    [
        ("lr", {"target_latency": 1.0}, "'lr' has no hidden layers"),
        ("dnn", {}, "either target_latency or target_share"),
        ("dnn", {"target_latency": 1.0, "target_share": 0.1}, "either"),
        ("dnn", {"target_share": 0.1}, "give teacher_time"),
    ],
)
def test_what_cannot_be_chosen_is_refused(network, targets, message):
    with pytest.raises(ValueError, match=message):
        pick(network, {}, INPUTS, **targets)

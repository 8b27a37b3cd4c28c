"""Slope and offset of logits, fitted on rows that were not trained on."""

import math

import numpy as np
import pytest
import torch
from memory_log import DNN, PLAIN

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.predictions import predict
from spark_ctr.training.recalibration import FEWEST_EVENTS, recalibrate


def drawn(rows, slope, offset, seed=0, mean=-2.0):
    """Logits of which `slope` * logit + `offset` is the truth, and labels."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(mean, 1.5, rows)
    label = draw.random(rows) < 1 / (1 + np.exp(-(slope * logit + offset)))
    return label.astype(float), logit


@pytest.mark.parametrize(("slope", "offset"), [(0.7, -0.3), (1.4, 0.5), (0.8, 0.0)])
def test_it_finds_the_truth_and_lowers_the_loss_of_other_rows(slope, offset):
    found = recalibrate(*drawn(40_000, slope, offset))
    assert found.applied
    assert found.slope == pytest.approx(slope, abs=0.04)
    assert found.offset == pytest.approx(offset, abs=0.1)
    assert found.cross_fitted < found.log_loss
    label, logit = drawn(40_000, slope, offset, seed=1)
    mapped = found.slope * logit + found.offset
    assert log_loss_of_logits(label, mapped) < log_loss_of_logits(label, logit)
    assert roc_auc(label, mapped) == roc_auc(label, logit)


def test_it_is_the_maximum_of_the_likelihood_where_rows_are_many():
    label, logit = drawn(40_000, 0.7, -0.3)
    found = recalibrate(label, logit)
    p = 1 / (1 + np.exp(-(found.slope * logit + found.offset)))
    # The derivatives by offset and slope; the prior leaves a trace.
    assert abs(np.sum(p - label)) < 1
    assert abs(np.sum((p - label) * logit)) < 5


def test_it_seldom_touches_logits_that_are_right_and_then_hardly():
    costs = []
    for seed in range(60):
        label, logit = drawn(2_000, 1.0, 0.0, seed)
        found = recalibrate(label, logit)
        truth = 1 / (1 + np.exp(-logit))
        z = found.slope * logit + found.offset
        expected = np.logaddexp(0, z) - truth * z
        best = np.logaddexp(0, logit) - truth * logit
        costs.append(float(np.mean(expected - best)))
    assert sum(cost > 0 for cost in costs) <= 9
    assert np.mean(costs) < 2e-4


def test_an_offset_alone_where_clicks_are_few():
    label, logit = drawn(8_000, 1.0, -1.2, mean=-5.0)
    assert FEWEST_EVENTS < label.sum() < 100
    found = recalibrate(label, logit)
    assert found.slope == 1.0
    assert -1.6 < found.offset < -0.6


@pytest.mark.parametrize("clicks", [0, 1, FEWEST_EVENTS - 1])
def test_too_few_rows_of_a_class_change_nothing(clicks):
    label = np.repeat([1.0, 0.0], [clicks, 5_000])
    logit = np.linspace(-1, 1, len(label))
    for labels in (label, 1 - label):
        assert not recalibrate(labels, logit).applied


def test_no_rows_no_weight_and_infinite_logits_change_nothing():
    label, logit = drawn(1_000, 0.5, 0.0)
    found = recalibrate([], [])
    assert not found.applied and found.to_dict()["log_loss"] is None
    assert not recalibrate(label, logit, np.zeros(1_000)).applied
    assert not recalibrate(label, np.where(logit > 0, np.inf, logit)).applied


def test_a_score_that_ranks_backwards_is_not_turned_round():
    label, logit = drawn(20_000, -1.0, 0.0)
    found = recalibrate(label, logit)
    assert found.slope == pytest.approx(0.05)
    mapped = found.slope * logit + found.offset
    rate = label.mean()
    constant = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    assert log_loss_of_logits(label, mapped) < 1.05 * constant < log_loss_of_logits(label, logit)


def test_logits_that_separate_the_classes_stay_finite():
    logit = np.linspace(-3, 3, 1_000)
    found = recalibrate((logit > 0).astype(float), logit)
    assert 0 < found.slope < 100 and math.isfinite(found.offset)


def test_weights_count_as_copies_and_their_unit_does_not_count():
    label, logit = drawn(6_000, 0.6, 0.2)
    weight = np.random.default_rng(1).integers(0, 3, 6_000).astype(float)
    found = recalibrate(label, logit, weight)
    copies = recalibrate(np.repeat(label, weight.astype(int)), np.repeat(logit, weight.astype(int)))
    assert found.slope == pytest.approx(copies.slope, abs=0.01)
    assert found.offset == pytest.approx(copies.offset, abs=0.02)
    scaled = recalibrate(label, logit, weight * 1e6)
    assert scaled.slope == pytest.approx(found.slope) and scaled.applied


def test_the_order_of_rows_does_not_count():
    label, logit = drawn(5_000, 0.7, -0.3)
    order = np.random.default_rng(2).permutation(5_000)
    assert recalibrate(label, logit) == recalibrate(label[order], logit[order])


def test_training_ends_with_it(inputs, make_rows, memory_feed):
    feed, valid = (memory_feed(make_rows(n, seed=s), 128, seed=1) for n, s in ((400, 0), (3000, 1)))
    networks, histories = [], []
    for on in (False, True):
        network = build_network("dnn", inputs, {**DNN, "hidden_layers": [32]}, seed=1)
        settings = TrainingSettings(
            **PLAIN | {"recalibrate": on},
            learning_rate=0.02,
            max_epochs=12,
            patience=12,
            device="cpu",
        )
        histories.append(train(network, feed, valid, settings))
        networks.append(network)
    found = histories[1].recalibration
    assert histories[0].recalibration == {}
    assert found["applied"] and 0 < found["slope"] < 0.95
    assert histories[0].epochs[-1]["valid_loss"] == histories[1].epochs[-1]["valid_loss"]
    plain, mapped = (predict(network, valid) for network in networks)
    np.testing.assert_allclose(
        mapped.logit, found["slope"] * plain.logit + found["offset"], rtol=1e-5, atol=1e-6
    )
    losses = [log_loss_of_logits(*p.of_task()) for p in (plain, mapped)]
    assert losses[1] < losses[0] == pytest.approx(found["log_loss"])
    assert torch.isfinite(networks[1].logit_calibration).all()

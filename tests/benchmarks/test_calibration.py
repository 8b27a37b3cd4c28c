"""The benchmarks of base rate and recalibration, on a few rows."""

from argparse import Namespace

import numpy as np
import pytest
from scipy.special import expit

pytest.importorskip("sklearn")

from benchmarks import base_rate, recalibration
from benchmarks.model_zoo_logs import Log, Rows
from spark_ctr.networks import Inputs, Table
from spark_ctr.training import History

ARGUMENTS = Namespace(epochs=2, quick=False, batch_norm="on")


def rows(count, seed):
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, 8, (count, 2)).astype(np.int32)
    label = draw.random(count) < expit(np.sin(ids[:, 0]) - 3)
    return Rows(ids, np.zeros((count, 0), np.float32), label.astype(np.float32))


@pytest.fixture(scope="module")
def log():
    tables = Table("site", 8, 4), Table("ad", 8, 4)
    return Log(Inputs(tables, ()), rows(3_000, 0), rows(2_000, 1))


def test_the_base_rate_is_a_better_start_than_zero(log):
    found = [base_rate.trained(log, 0, 2, start) for start in (True, False)]
    ours, zero = (history.epochs[0]["valid_loss"] - constant for history, constant in found)
    assert ours < 0.02 < zero
    figures = list(base_rate.figures(*found[0]))
    assert len(figures) == 7 and figures[-1][1] == "epochs worse than the constant"


def test_epochs_saved_are_counted_up_to_the_last_epoch_of_the_other():
    ours, zero = (
        History(epochs=[{"valid_loss": loss} for loss in losses])
        for losses in ([0.3, 0.2, 0.1], [0.9, 0.5, 0.2])
    )
    assert base_rate.saved(ours, zero) == 1.0
    assert base_rate.saved(zero, ours) == 0.0


def test_one_trained_network_is_scored_with_every_map(log):
    values = {(system, metric): v for system, metric, v in recalibration.both(log, 0, ARGUMENTS)}
    assert values["spark_ctr", "auc"] == pytest.approx(values["plain", "auc"], abs=1e-3)
    assert abs(values["plain", "auc"] - 0.5) < 0.25
    for system in ("spark_ctr", "plain", "without dropout"):
        assert 0.3 < values[system, "calibration ratio"] < 3
    again = {(s, m): v for s, m, v in recalibration.both(log, 0, ARGUMENTS)}
    assert again == values


def test_labels_of_a_drawn_log_are_probabilities():
    found = recalibration.measured(np.array([0.1, 0.3]), np.array([0.0, 0.0]))
    assert found["calibration ratio"] == pytest.approx(2.5)
    assert "slope" not in found

"""The benchmark of calibration by slot, on a few rows."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks import calibration
from benchmarks.calibration_logs import best_reachable, draw_rows, field_error, log_loss


def test_errors_by_hand():
    true, predicted = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.1, 0.5, 0.4])
    slot = np.array([0, 0, 1, 1])
    assert field_error(true, predicted, slot) == pytest.approx(0.2 / 4)
    assert field_error(true, predicted, slot, 2) == pytest.approx(0.4 / 4)
    assert log_loss(true, true) < log_loss(true, predicted)


def test_our_slots_are_nearest_the_truth():
    fit, test = (draw_rows(60_000, 300, 3, part) for part in range(2))
    assert not np.array_equal(fit.score, test.score)
    found = {
        "ours": calibration.ours(fit, test, "platt"),
        "global": calibration.isotonic(fit, test, by_slot=False),
        "by slot": calibration.isotonic(fit, test, by_slot=True),
    }
    best = best_reachable(fit, test, 300)
    errors = {name: field_error(test.true, p, test.slot) for name, p in found.items()}
    losses = {name: log_loss(test.true, p) for name, p in found.items()}
    assert min(errors, key=errors.get) == min(losses, key=losses.get) == "ours"
    assert log_loss(test.true, best) < losses["ours"]
    assert field_error(test.true, best, test.slot) < 0.8 * errors["global"]


def test_forgetting_follows_drift(monkeypatch):
    monkeypatch.setattr(calibration, "HOURS", 6)
    monkeypatch.setattr(calibration, "HOUR_ROWS", 100_000)
    found = calibration.hourly(0, 48, quick=False)
    off = {name: abs(ratios[-1] - 1) for name, ratios in found.items()}
    assert off["spark_ctr"] < off["all hours"] < off["once"]

"""Shrunk corrections of slots against formulas, and against the truth they were drawn from."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from spark_ctr.calibration_curves import (
    SLOT_METHODS,
    BetaCurve,
    SlotStatistics,
    fit_calibration,
    fit_lines,
    fit_ratios,
)

SLOTS, ROWS = 200, 300_000
IDENTITY = BetaCurve(1.0, 1.0, 0.0)


def draw(seed, offset=0.35, slope=0.15):
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, SLOTS + 1)
    slot = rng.choice(SLOTS, ROWS, p=share / share.sum())
    a, b = rng.normal(0, offset, SLOTS), rng.normal(1, slope, SLOTS)
    z = rng.normal(-3.0, 1.0, ROWS)
    true = expit(a[slot] - 3.0 + b[slot] * (z + 3.0))
    return expit(z), (rng.random(ROWS) < true).astype(float), slot * 7 - 300, true


P, Y, SLOT, TRUE = draw(1)
STATISTICS = SlotStatistics.of_rows(P, Y, SLOT)


def field_error(predicted, true, slot):
    """Field-ECE against known probabilities."""
    place = np.unique(slot, return_inverse=True)[1]
    return np.abs(np.bincount(place, predicted - true)).sum() / len(true)


def test_ratios_are_the_formula_with_the_k_of_the_slots():
    found = fit_ratios(STATISTICS, IDENTITY)
    place = np.unique(SLOT, return_inverse=True)[1]
    clicks, expected = np.bincount(place, Y), np.bincount(place, P)
    k = found.prior_clicks
    assert found.ratio == pytest.approx((clicks + k) / (expected + k), rel=1e-9)
    moved = np.bincount(place, expit(np.log(P / (1 - P)) + found.offset[place]))
    assert moved == pytest.approx(found.ratio * expected, rel=2e-3)
    assert 3 < k < 15  # 1 / variance of exp(0.35 * normal) is 7.6
    same = np.random.default_rng(0).random(ROWS) < P
    alike = fit_ratios(SlotStatistics.of_rows(P, same, SLOT), IDENTITY)
    assert alike.prior_clicks > 300 and np.abs(alike.ratio - 1).max() < 0.15


def test_lines_are_the_mode_of_each_slots_own_problem():
    found = fit_lines(STATISTICS, IDENTITY)
    assert found.deviation == pytest.approx((0.35, 0.15), rel=0.35)
    for place in (0, 3, 150):
        cells = STATISTICS.slot == place
        z, n, y = STATISTICS.logit[cells], STATISTICS.weight[cells], STATISTICS.clicks[cells]
        x = z - found.centre

        def cost(at, z=z, n=n, y=y, x=x):
            u = z + at[0] + at[1] * x
            prior = np.square(at / np.array(found.deviation)).sum() / 2
            return n @ np.logaddexp(0, u) - y @ u + prior

        theirs = minimize(cost, [0.0, 0.0], tol=1e-10).x
        assert found.slope[place] == pytest.approx(1 + theirs[1], abs=1e-4)
        offset = theirs[0] - theirs[1] * found.centre
        assert found.offset[place] == pytest.approx(offset, abs=1e-3)


def test_slots_that_do_not_differ_get_nothing_of_their_own():
    same = np.random.default_rng(4).random(ROWS) < P
    found = fit_lines(SlotStatistics.of_rows(P, same, SLOT), IDENTITY)
    assert found.deviation[0] < 0.1 and found.deviation[1] < 0.1
    assert np.abs(found.slope - 1).max() < 0.1


def test_shrinking_is_nearer_the_truth_than_one_curve_and_than_none():
    wrong = {
        method: field_error(fit_calibration(STATISTICS, slot_method=method)(P, SLOT), TRUE, SLOT)
        for method in SLOT_METHODS
    }
    place = np.unique(SLOT, return_inverse=True)[1]
    raw = P * (np.bincount(place, Y) / np.bincount(place, P))[place]
    assert wrong["platt"] < 0.45 * wrong["none"] and wrong["ratio"] < 0.45 * wrong["none"]
    assert wrong["platt"] < field_error(raw, TRUE, SLOT)


@pytest.mark.parametrize("slot_method", SLOT_METHODS)
def test_slots_never_seen_take_the_global_curve_and_order_stays(slot_method):
    found = fit_calibration(STATISTICS, slot_method=slot_method)
    scores = expit(np.linspace(-9, 2, 400))
    unseen = found(scores, np.full(400, 5))
    assert (unseen == found(scores)).all()
    for key in found.keys[::40]:
        assert (np.diff(found(scores, np.full(400, key))) > 0).all()


def test_slots_with_no_click_and_with_no_weight():
    p, slot = np.full(2000, 0.05), np.repeat([1, 2, 3], [1900, 90, 10])
    y = np.where(slot == 1, np.arange(2000) % 15 == 0, 0).astype(float)
    weight = np.where(slot == 3, 0.0, 1.0)
    for slot_method in SLOT_METHODS:
        found = fit_calibration(SlotStatistics.of_rows(p, y, slot, weight), "platt", slot_method)
        clicked, none, weightless = found([0.05] * 3, [1, 2, 3])
        assert 0 < none <= clicked < 0.1
        assert weightless == pytest.approx(found([0.05])[0])


def test_a_slot_that_contradicts_its_scores_keeps_their_order():
    rng = np.random.default_rng(2)
    z = rng.normal(-1.0, 1.0, 40_000)
    slot = np.arange(40_000) % 8
    y = rng.random(40_000) < expit(np.where(slot == 0, -2 - z, z))
    found = fit_calibration(SlotStatistics.of_rows(expit(z), y, slot), "platt")
    assert found.slope[0] == pytest.approx(0.05)
    mine = expit(z[slot == 0])
    assert found(mine, np.zeros(len(mine))).mean() == pytest.approx(y[slot == 0].mean(), rel=0.02)

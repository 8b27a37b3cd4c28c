"""Curves against scikit-learn and against the truth that rows were drawn from."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from spark_ctr.calibration_curves import METHODS, SlotStatistics, fit_curve

rng = np.random.default_rng(0)
Z = rng.normal(-3.0, 1.0, 200_000)
P = expit(Z)
TRUE = expit(-0.5 + 0.8 * Z)
Y = (rng.random(len(Z)) < TRUE).astype(float)
ROWS = SlotStatistics.of_rows(P, Y)
SCORES = expit(np.linspace(-20, 20, 4001))


@pytest.mark.parametrize("method", METHODS)
def test_curves_keep_the_order_of_scores(method):
    for statistics in (ROWS, SlotStatistics.of_rows(P[:300], Y[:300])):
        found = fit_curve(statistics, method)(SCORES)
        assert np.isfinite(found).all() and (np.diff(found) > 0).all()
        # Also of scores that say the contrary.
    contrary = SlotStatistics.of_rows(1 - P, Y)
    assert (np.diff(fit_curve(contrary, method)(SCORES)) > 0).all()


@pytest.mark.parametrize("method", sorted({*METHODS} - {"temperature"}))
def test_curves_find_the_truth(method):
    found = expit(fit_curve(ROWS, method)(P))
    assert np.abs(found - TRUE).mean() < 0.03 * TRUE.mean()
    assert found.sum() == pytest.approx(Y.sum(), rel=0.002)


def test_platt_is_logistic_regression_of_the_log_odds():
    found = fit_curve(SlotStatistics.of_rows(P, Y, bins=4096), "platt")
    theirs = LogisticRegression(C=np.inf).fit(Z[:, None], Y)
    assert found.a == pytest.approx(theirs.coef_[0, 0], abs=2e-3) and found.a == found.b
    assert found.c == pytest.approx(theirs.intercept_[0], abs=5e-3)


def test_a_temperature_has_no_offset():
    y = rng.random(len(Z)) < expit(Z / 1.25)
    found = fit_curve(SlotStatistics.of_rows(P, y), "temperature")
    assert (found.c, found.a) == (0.0, found.b) and 1 / found.a == pytest.approx(1.25, rel=0.01)


def test_isotonic_is_scikit_learns_with_lines_for_steps():
    theirs = IsotonicRegression(out_of_bounds="clip").fit(P, Y)
    found = expit(fit_curve(ROWS, "isotonic")(P))
    assert np.abs(found - theirs.predict(P)).mean() < 0.04 * Y.mean()
    assert np.abs(found - TRUE).mean() < np.abs(theirs.predict(P) - TRUE).mean()


def test_bins_without_a_click_are_not_impossible():
    p = np.repeat([0.001, 0.2], [400, 400])
    y = np.repeat([0.0, 0.0, 1.0], [400, 300, 100])
    low, high = expit(fit_curve(SlotStatistics.of_rows(p, y), "isotonic")([0.001, 0.2]))
    assert 1e-5 < low < 0.005 and high == pytest.approx(0.25, abs=0.02)


def test_weights_count_as_repeated_rows():
    weight = np.random.default_rng(6).integers(0, 3, 30_000)
    p, y = P[:30_000], Y[:30_000]
    weighted = SlotStatistics.of_rows(p, y, weight=weight)
    repeated = SlotStatistics.of_rows(np.repeat(p, weight), np.repeat(y, weight))
    doubled = SlotStatistics.of_rows(p, y, weight=np.full(30_000, 2.0))
    for method in METHODS:
        one, other, same, plain = (
            fit_curve(s, method)(p)
            for s in (weighted, repeated, doubled, SlotStatistics.of_rows(p, y))
        )
        # Not quite: repeated rows say as much as other rows would, weights less.
        assert np.abs(one - other).mean() < 0.02
        assert same == pytest.approx(plain, abs=1e-6)


def test_log_odds_of_scores_are_kept_where_they_are_right():
    y = rng.random(len(Z)) < P
    for method in METHODS:
        found = expit(fit_curve(SlotStatistics.of_rows(P, y), method)(P))
        assert np.abs(logit(found) - Z).mean() < 0.06

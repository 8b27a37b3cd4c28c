"""Thresholds of probabilities: counted exactly, thinned where little happens, chosen well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from spark_ctr.training.operating_points import best_threshold, operating_points


def _drawn(rows, rate=0.02, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < rate).astype(float)
    return y, 1 / (1 + np.exp(4.5 - 2 * y - rng.normal(size=rows)))


labelled = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.integers(0, 20), st.integers(0, 3)), min_size=1
)


@given(labelled, st.integers(1, 30))
def test_points_count_what_lies_above_them(found, steps):
    y, p, w = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    points = operating_points(y, p / 20, w, steps)
    thresholds = np.array(points["threshold"])
    assert np.all(np.diff(thresholds) < 0) and len(thresholds) <= 2 * steps + 2
    for t, clicks, rows in zip(*points.values(), strict=True):
        above = p / 20 > t if t > 0 else np.ones(len(p), dtype=bool)
        assert clicks == pytest.approx((w * y)[above].sum())
        assert rows == pytest.approx(w[above].sum())


def test_no_rows_give_no_points():
    assert operating_points([], []) == {"threshold": [], "clicks": [], "rows": []}
    with pytest.raises(ValueError, match="validationFraction"):
        best_threshold(operating_points([], []))
    with pytest.raises(ValueError, match="both labels"):
        best_threshold(operating_points([0, 0], [0.1, 0.2]))


def _f_measures(y, p, beta):
    """F measure at every probability that occurs, from high to low."""
    caught = np.cumsum(y[np.argsort(-p)])
    taken = np.arange(1, len(y) + 1)
    return (1 + beta**2) * caught / (taken + beta**2 * y.sum())


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_measure_is_the_best_there_is(beta):
    y, p = _drawn(4000)
    best = _f_measures(y, p, beta).max()
    found = fbeta_score(y, p > best_threshold(operating_points(y, p), "f1", beta), beta=beta)
    assert found >= best - 0.01
    assert found > fbeta_score(y, p > 0.5, beta=beta, zero_division=0) + 0.05
    exact = best_threshold(operating_points(y, p, steps=10**6), "f1", beta)
    assert fbeta_score(y, p > exact, beta=beta) == pytest.approx(best)


def test_other_metrics():
    y, p = _drawn(20_000)
    points = operating_points(y, p)
    predicted = (p > best_threshold(points, "rate")).sum()
    assert predicted == pytest.approx(y.sum(), rel=0.02)
    t = best_threshold(points, "youden")
    gain = (p > t)[y == 1].mean() - (p > t)[y == 0].mean()
    grid = np.quantile(p, np.linspace(0, 1, 400))
    assert gain >= max((p > g)[y == 1].mean() - (p > g)[y == 0].mean() for g in grid) - 0.01


@pytest.mark.parametrize(("metric", "beta"), [("auc", 1.0), ("f1", 0.0), ("f1", float("nan"))])
def test_bad_arguments_are_named(metric, beta):
    with pytest.raises(ValueError, match="metric must be|beta must be"):
        best_threshold(operating_points([0, 1], [0.1, 0.2]), metric, beta)

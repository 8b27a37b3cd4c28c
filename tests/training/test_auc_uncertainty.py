"""DeLong's standard errors against the definition, a bootstrap, and what repeated draws show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from spark_ctr.training.auc_uncertainty import Estimate, auc_difference, auc_estimate


def _components(y, s):
    """V10 and V01 of DeLong's paper, pair by pair."""
    ones, zeros = s[y == 1], s[y == 0]
    pairs = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
    return pairs.mean(1), pairs.mean(0)


def _variance(ones, zeros):
    return ones.var(ddof=1) / len(ones) + zeros.var(ddof=1) / len(zeros)


rows = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.integers(-4, 4), st.integers(-4, 4)), min_size=4
)


@given(rows)
def test_equals_the_definition_pair_by_pair(found):
    y, first, second = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    if min(y.sum(), len(y) - y.sum()) < 2:
        return
    a, b = _components(y, first), _components(y, second)
    one = auc_estimate(y, first)
    assert one.value == pytest.approx(roc_auc_score(y, first), abs=1e-12)
    if 0 < one.value < 1:
        assert one.standard_error == pytest.approx(math.sqrt(_variance(*a)), abs=1e-12)
    both = auc_difference(y, first, second)
    assert both.value == pytest.approx(b[0].mean() - a[0].mean(), abs=1e-12)
    wanted = math.sqrt(_variance(b[0] - a[0], b[1] - a[1]))
    assert both.standard_error == pytest.approx(wanted, abs=1e-12)


def _drawn(rng, n=800, rate=0.1):
    y = (rng.random(n) < rate).astype(float)
    signal = y + rng.normal(size=n)
    return y, signal, signal + 0.5 * rng.normal(size=n)


def test_agrees_with_a_bootstrap_of_rows():
    rng = np.random.default_rng(0)
    y, first, second = _drawn(rng)
    drawn = []
    for _ in range(400):
        i = rng.integers(0, len(y), len(y))
        drawn.append((roc_auc_score(y[i], first[i]), roc_auc_score(y[i], second[i])))
    one, two = np.array(drawn).T
    assert auc_estimate(y, first).standard_error == pytest.approx(one.std(), rel=0.15)
    assert auc_difference(y, first, second).standard_error == pytest.approx(
        (two - one).std(), rel=0.15
    )


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, inside = np.random.default_rng(1), 0
    truth = 0.76024994  # Phi(1 / sqrt(2)), of normal scores one standard deviation apart
    for _ in range(400):
        y, first, _ = _drawn(rng)
        low, high = auc_estimate(y, first).interval
        inside += low < truth < high
    assert 0.92 <= inside / 400 <= 0.98


def test_what_rows_cannot_tell_is_nan():
    nothing = auc_estimate([], [])
    one_class = auc_estimate([1, 1], [0.1, 0.2])
    assert all(map(math.isnan, (*nothing, *one_class, *auc_difference([0], [1.0], [2.0]))))
    assert auc_estimate([0, 1, 0], [0.3, 0.2, 0.1])[0] == 0.5
    assert math.isnan(auc_estimate([0, 1, 0], [0.3, 0.2, 0.1]).standard_error)
    perfect = auc_estimate([0, 0, 1, 1], [1, 2, 3, 4])
    assert perfect.value == 1 and math.isnan(perfect.standard_error)
    assert auc_difference([0, 0, 1, 1], [1, 2, 3, 0], [2, 4, 6, 0]) == Estimate(0, 0)


@pytest.mark.parametrize(
    ("label", "score", "match"),
    [([0, 1], [1.0], "one length"), ([0, 2], [1, 2], "0 or 1"), ([0, 1], [1, math.nan], "nan")],
)
def test_bad_input_is_refused(label, score, match):
    with pytest.raises(ValueError, match=match):
        auc_estimate(label, score)

"""Numbers of calibration by hand: eight rows of two slots."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from spark_ctr.calibration_curves import cox, mean_error, mean_relative_error, normalized_entropy

Q = np.array([0.1, 0.2, 0.3, 0.4, 0.05, 0.05, 0.5, 0.4])
Y = np.array([0.0, 0, 1, 0, 0, 0, 1, 1])
FIELD = np.repeat([0, 1], 4)


def test_errors_of_slots():
    predicted, clicks = np.bincount(FIELD, Q), np.bincount(FIELD, Y)
    assert mean_error(predicted, clicks, 8) == pytest.approx(0.125)
    assert mean_relative_error(predicted, clicks, np.array([4.0, 4.0])) == pytest.approx(0.25)
    with_none = (np.append(v, x) for v, x in ((predicted, 0.5), (clicks, 0.0), ([4.0, 4.0], 8.0)))
    assert mean_relative_error(*with_none) == pytest.approx(0.125)


def test_normalized_entropy():
    loss = -np.mean(Y * np.log(Q) + (1 - Y) * np.log(1 - Q))
    assert loss == pytest.approx(0.469416, abs=1e-6)
    assert normalized_entropy(loss, 3 / 8) == pytest.approx(0.709556, abs=1e-6)
    assert math.isnan(normalized_entropy(0.1, 0.0))


def test_cox_intercept_and_slope():
    a, b = cox(np.zeros(8, int), logit(Q), np.ones(8), Y, 1)
    assert (a[0], b[0]) == (pytest.approx(2.1496, abs=1e-4), pytest.approx(2.7678, abs=1e-4))
    rng = np.random.default_rng(0)
    z, slot = rng.normal(-2, 1, 4000), np.arange(4000) % 3
    y = (rng.random(4000) < expit(0.5 + 0.7 * z)).astype(float)
    a, b = cox(slot, z, np.ones(4000), y, 3)
    for one in range(3):
        rows = slot == one
        theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(z[rows, None], y[rows])
        assert a[one] == pytest.approx(theirs.intercept_[0], abs=1e-3)
        assert b[one] == pytest.approx(theirs.coef_[0, 0], abs=1e-3)


def test_cox_is_unknown_where_clicks_do_not_say():
    z = np.array([-1.0, 0.0, -1.0, 0.0, -1.0, -1.0, -2.0, -1.0, 0.0, -2.0, -1.0, 0.0])
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.5])
    slot = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4])
    a, b = cox(slot, z, np.ones(12), y, 5)
    assert np.isnan(a[:4]).all() and np.isnan(b[:4]).all() and np.isfinite([a[4], b[4]]).all()

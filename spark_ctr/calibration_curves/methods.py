"""Curves fitted to the clicks of score bins: Platt, temperature, beta, isotonic, histogram."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, log_expit

from spark_ctr.calibration_curves.bins import HIGH, LOW, Floats, Integers, log_odds
from spark_ctr.calibration_curves.curve import BetaCurve, Curve, LinearCurve
from spark_ctr.calibration_curves.statistics import SlotStatistics

# Standard deviations of the priors around slope 1 and offset 0: a dozen clicks outweigh them.
_SLOPE_DEVIATION, _OFFSET_DEVIATION = 0.5, 1.0
# Of a score that says nothing or the contrary: its order stays, its size hardly counts.
LEAST_SLOPE = 0.05
# Events of the rarer kind that each bin is taken to have had already, at Platt's rate.
_PRIOR_EVENTS = 0.5
_NODES_PER_BIN = 4
_GROUPS = 20


def fit_curve(statistics: SlotStatistics, method: str) -> Curve:
    """Fit one curve to all rows, whatever their slot.

    Parameters
    ----------
    statistics : SlotStatistics
        With clicks, and with rows that are none.
    method : str
        One of `METHODS`.

    Returns
    -------
    Curve
        Strictly increasing.
    """
    return METHODS[method](statistics.by_bin().weighted())


def fit_platt(bins: SlotStatistics) -> BetaCurve:
    """Fit slope and offset in log-odds, after Platt, 1999."""
    slope, offset = _logistic(bins, np.stack([bins.logit, np.ones_like(bins.logit)]), [1.0, 0.0])
    return BetaCurve(slope, slope, offset)


def fit_temperature(bins: SlotStatistics) -> BetaCurve:
    """Fit a slope in log-odds, one over the temperature; Guo et al., ICML 2017."""
    (slope,) = _logistic(bins, bins.logit[None], [1.0])
    return BetaCurve(slope, slope, 0.0)


def fit_beta(bins: SlotStatistics) -> BetaCurve:
    """Fit slopes of ln(p) and -ln(1 - p) and an offset; Kull et al., AISTATS 2017."""
    z = bins.logit
    x = np.stack([-np.logaddexp(0.0, -z), np.logaddexp(0.0, z), np.ones_like(z)])
    return BetaCurve(*_logistic(bins, x, [1.0, 1.0, 0.0]))


def fit_isotonic(bins: SlotStatistics) -> LinearCurve:
    """Pool bins until their click rates increase, and join the pools' means by lines.

    Lines instead of steps keep the order of scores, and so the AUC. Each bin is taken to have had
    half a click (or half a row without one, where those are rarer) at Platt's rate, so that the
    rate of a pool without clicks is not 0.

    References
    ----------
    Zadrozny and Elkan, KDD 2002.
    """
    return _pooled(bins, np.arange(len(bins.bin)))


def fit_histogram(bins: SlotStatistics) -> LinearCurve:
    """As isotonic, of about 20 groups of bins that are equally frequent, the smooth version."""
    before = np.cumsum(bins.weight) - 0.5 * bins.weight
    group = np.floor(before * (_GROUPS / bins.weight.sum())).astype(np.int64)
    return _pooled(bins, np.unique(group, return_inverse=True)[1])


METHODS: dict[str, Callable[[SlotStatistics], Curve]] = {
    "isotonic": fit_isotonic,
    "platt": fit_platt,
    "temperature": fit_temperature,
    "beta": fit_beta,
    "histogram": fit_histogram,
}


def _logistic(bins: SlotStatistics, x: Floats, start: list[float]) -> list[float]:
    """Return the mode of the logistic likelihood times priors around ``start``."""
    weight, clicks = bins.weight * bins.evidence, bins.clicks * bins.evidence
    centre = np.array(start)
    deviation = np.where(centre == 1.0, _SLOPE_DEVIATION, _OFFSET_DEVIATION)

    def cost(at: Floats) -> tuple[float, Floats]:
        u = at @ x
        off = (at - centre) / deviation
        loss = -(clicks @ log_expit(u) + (weight - clicks) @ log_expit(-u)) + 0.5 * off @ off
        return loss, x @ (weight * expit(u) - clicks) + off / deviation

    bounds = [(LEAST_SLOPE, None) if one == 1.0 else (None, None) for one in start]
    # By rows, so that the tolerance means the same for few and many.
    scale = max(1.0, float(weight.sum()))

    def scaled(at: Floats) -> tuple[float, Floats]:
        loss, gradient = cost(at)
        return loss / scale, gradient / scale

    found = minimize(
        scaled,
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    )
    return [float(value) for value in found.x]


def _pooled(bins: SlotStatistics, group: Integers) -> LinearCurve:
    weight, clicks, predicted = (
        np.bincount(group, values) for values in (bins.weight, bins.clicks, bins.predicted)
    )
    prior = expit(fit_platt(bins)(predicted / weight))
    rows = _PRIOR_EVENTS / (np.minimum(prior, 1 - prior) * bins.evidence)
    rate = (clicks + rows * prior) / (weight + rows)
    pooled = isotonic_regression(rate, weights=weight + rows)
    pool = np.repeat(np.arange(len(pooled.blocks) - 1), np.diff(pooled.blocks))
    x = log_odds(np.bincount(pool, predicted) / np.bincount(pool, weight))
    y = log_odds(pooled.x[pooled.blocks[:-1]])
    nodes = np.linspace(LOW, HIGH, _NODES_PER_BIN * bins.bins.count + 1)
    # Beyond the outer pools nothing was seen: what their means are off by is kept.
    return LinearCurve(
        np.interp(nodes, x, y) + np.minimum(nodes - x[0], 0.0) + np.maximum(nodes - x[-1], 0.0)
    )

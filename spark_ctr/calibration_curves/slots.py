"""Corrections of single slots, shrunk towards none by as much as the slots themselves suggest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, gammaln

from spark_ctr.calibration_curves.bins import Floats, Integers
from spark_ctr.calibration_curves.curve import Curve
from spark_ctr.calibration_curves.methods import LEAST_SLOPE
from spark_ctr.calibration_curves.statistics import SlotStatistics

_STEPS, _ROUNDS = 30, 100
# Deviations from which the search for the slots' own begins, and below which there is nothing.
_START, _LEAST_DEVIATION = np.array([0.3, 0.1]), 1e-3
# Slots of the starting deviations that are taken to have been seen: so one slot alone is shrunk.
_PRIOR_SLOTS = 2.0


@dataclass(frozen=True, eq=False)
class SlotLines:
    """Calibrated log-odds of a slot: ``offset + slope * g``, where g are the global curve's.

    Attributes
    ----------
    offset, slope : float64 array [S]
        0 and 1 where a slot's rows say nothing.
    deviation : tuple of float
        Standard deviations of the slots' offsets, at the centre, and slopes that were found.
    centre : float
        The g around which offsets and slopes were taken to be independent.
    """

    offset: Floats
    slope: Floats
    deviation: tuple[float, float]
    centre: float


@dataclass(frozen=True, eq=False)
class SlotRatios:
    """Factors of a slot's expected clicks, and the shifts in log-odds that bring them about.

    Attributes
    ----------
    ratio, offset : float64 array [S]
        1 and 0 where a slot's rows say nothing.
    prior_clicks : float
        The k of (clicks + k) / (expected clicks + k).
    """

    ratio: Floats
    offset: Floats
    prior_clicks: float


def fit_ratios(statistics: SlotStatistics, curve: Curve) -> SlotRatios:
    """Fit a factor a slot, by gamma-Poisson shrinkage towards 1.

    Clicks of a slot are taken as Poisson with mean ratio times expected clicks G, and ratios as
    gamma with mean 1 and variance 1 / k; k maximises the likelihood of all slots' clicks Y. The
    ratio's mean is then (Y + k) / (G + k). A shift in log-odds multiplies the slot's expected
    clicks by it: where probabilities are small that is the ratio of each, and none goes beyond 1.
    """
    cells = statistics.weighted()
    g = curve(cells.predicted / cells.weight)
    probability = expit(g)
    evidence = cells.evidence
    clicks = cells.by_slot(cells.clicks) * evidence
    expected = cells.by_slot(cells.weight * probability) * evidence
    seen = expected > 0

    def cost(log_k: float) -> float:
        k, y, g = np.exp(log_k), clicks[seen], expected[seen]
        terms = gammaln(y + k) - gammaln(k) + k * np.log(k / (k + g)) + y * np.log(g / (k + g))
        return -float(terms.sum())

    bounds = (np.log(0.05), np.log(1e6))
    k = float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))
    ratio = (clicks + k) / (expected + k)
    own = cells.slot >= 0
    slot, g, weight = cells.slot[own], g[own], cells.weight[own] * evidence
    offset = np.log(ratio)
    for _ in range(_STEPS):
        p = expit(g + offset[slot])
        now = np.bincount(slot, weight * p, len(ratio))
        slope = np.bincount(slot, weight * p * (1.0 - p), len(ratio))
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.where(slope > 0, (now - ratio * expected) / slope, 0.0)
        offset = offset - np.clip(step, -1.0, 1.0)
    return SlotRatios(ratio, offset, k)


def fit_lines(statistics: SlotStatistics, curve: Curve) -> SlotLines:
    """Fit an offset and a slope a slot, by ridge regression in log-odds on top of a curve.

    Offset and slope are normal around 0 and 1 with deviations that the slots themselves give
    (empirical Bayes, by MacKay's fixed point on the Laplace approximation).

    References
    ----------
    Platt, 1999; MacKay, "Bayesian interpolation", Neural Computation 1992.
    """
    cells = statistics.weighted()
    g = curve(cells.predicted / cells.weight)
    p = expit(g)
    information = cells.weight * p * (1.0 - p)
    centre = float(np.average(g, weights=information if information.sum() > 0 else None))
    own = cells.slot >= 0
    problem = SlotLogistic(
        cells.slot[own],
        g[own],
        g[own] - centre,
        cells.weight[own] * cells.evidence,
        cells.clicks[own] * cells.evidence,
        statistics.slots,
    )
    deviation = _START.copy()
    at = np.zeros((2, statistics.slots))
    for _ in range(_ROUNDS):
        at, variance = problem.mode(at, deviation)
        # How much of each number its rows decide, from 0 to 1.
        decided = np.clip(1.0 - variance / np.square(deviation)[:, None], 0.0, 1.0).sum(1)
        squares = np.square(at).sum(1) + _PRIOR_SLOTS * np.square(_START)
        found = np.maximum(np.sqrt(squares / (decided + _PRIOR_SLOTS)), _LEAST_DEVIATION)
        moved = np.abs(found / deviation - 1.0).max()
        deviation = found
        if moved < 1e-4:
            break
    at, _ = problem.mode(at, deviation)
    at = problem.increasing(at, deviation)
    return SlotLines(at[0] - at[1] * centre, 1.0 + at[1], (deviation[0], deviation[1]), centre)


@dataclass(frozen=True, eq=False)
class SlotLogistic:
    """All slots' logistic regressions, ``base + a + b * centred``, solved side by side.

    Attributes
    ----------
    slot : int64 array [C]
        Of each cell, 0 to ``slots`` - 1.
    base, centred, weight, clicks : float64 array [C]
    slots : int
    """

    slot: Integers
    base: Floats
    centred: Floats
    weight: Floats
    clicks: Floats
    slots: int

    def total(self, values: Floats) -> Floats:
        """Sum values of cells by slot, float64 [S]."""
        return np.bincount(self.slot, values, self.slots).astype(np.float64)

    def moments(self, at: Floats, precision: Floats) -> tuple[Floats, Floats]:
        """Return gradient [2, S] and second derivatives [3, S] of the cost."""
        p = expit(self.base + at[0, self.slot] + at[1, self.slot] * self.centred)
        residual, w = self.weight * p - self.clicks, self.weight * p * (1.0 - p)
        x = self.centred
        gradient = np.stack([self.total(residual), self.total(residual * x)])
        gradient += precision[:, None] * at
        hessian = np.stack([self.total(w), self.total(w * x), self.total(w * x * x)])
        hessian[0] += precision[0]
        hessian[2] += precision[1]
        return gradient, hessian

    def mode(self, at: Floats, deviation: Floats, steps: int = _STEPS) -> tuple[Floats, Floats]:
        """Return the modes, and the variances around them, [2, S], by Newton's method."""
        precision = 1.0 / np.square(deviation)
        for _ in range(steps):
            gradient, (aa, ab, bb) = self.moments(at, precision)
            determinant = aa * bb - ab * ab
            step = np.stack(
                [bb * gradient[0] - ab * gradient[1], aa * gradient[1] - ab * gradient[0]]
            )
            step = np.clip(step / determinant, -1.0, 1.0)  # far from the mode a step is too long
            at = at - step
            if not step.size or np.abs(step).max() < 1e-9:
                break
        _, (aa, ab, bb) = self.moments(at, precision)
        return at, np.stack([bb, aa]) / (aa * bb - ab * ab)

    def increasing(self, at: Floats, deviation: Floats) -> Floats:
        """Return the modes with slopes of at least the least one, and offsets that go with them."""
        flat = 1.0 + at[1] < LEAST_SLOPE
        if not flat.any():
            return at
        at = np.stack([at[0], np.where(flat, LEAST_SLOPE - 1.0, at[1])])
        precision = 1.0 / np.square(deviation)
        for _ in range(_STEPS):
            gradient, (aa, _, _) = self.moments(at, precision)
            step = np.where(flat, np.clip(gradient[0] / aa, -1.0, 1.0), 0.0)
            at = np.stack([at[0] - step, at[1]])
        return at

"""Scores whose true probabilities are known: every slot bends them in its own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

OFFSET_DEVIATION, SLOPE_DEVIATION = 0.35, 0.15
CENTRE = -3.9  # of the scores' log-odds, deviation 1: about 3 % clicks


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows of a log: score, label (0 or 1) and true probability float64 [N], slot int64 [N]."""

    score: np.ndarray
    label: np.ndarray
    slot: np.ndarray
    true: np.ndarray


def draw_rows(rows: int, slots: int, seed: int, part: int, drift: float = 0.0) -> ScoredRows:
    """Draw rows of one world.

    The true log-odds are ``offset + centre + slope * (z - centre) + 0.3 * tanh(z - centre)`` of the
    score's z, offset and slope being the slot's own; slots are Zipf-distributed (exponent 1).

    Parameters
    ----------
    rows, slots : int
    seed : int
        Of the world: the slots' offsets and slopes.
    part : int
        Rows of one part are not those of another.
    drift : float
        Added to the true log-odds of all rows.
    """
    world, rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1, part])
    offset = world.normal(0.0, OFFSET_DEVIATION, slots)
    slope = world.normal(1.0, SLOPE_DEVIATION, slots)
    share = 1.0 / np.arange(1, slots + 1)
    slot = rng.choice(slots, rows, p=share / share.sum())
    z = rng.normal(CENTRE, 1.0, rows)
    own = offset[slot] + CENTRE + slope[slot] * (z - CENTRE)
    true = expit(own + 0.3 * np.tanh(z - CENTRE) + drift)
    return ScoredRows(expit(z), (rng.random(rows) < true).astype(float), slot, true)


def best_reachable(fit: ScoredRows, test: ScoredRows, slots: int, steps: int = 25) -> np.ndarray:
    """Predict the rows of `test` knowing the world, but for the slots' own offsets and slopes.

    What the rows of `fit` tell of these is their posterior, by Laplace's approximation: Newton's
    method finds its mode. No calibrator that knows less can be better on average, up to that.

    Returns
    -------
    float64 array [N]
        Posterior means of the true probabilities.
    """

    def known(rows: ScoredRows) -> tuple[np.ndarray, np.ndarray]:
        u = logit(rows.score) - CENTRE
        return u, CENTRE + u + 0.3 * np.tanh(u)

    u, base = known(fit)
    precision = np.array([OFFSET_DEVIATION, SLOPE_DEVIATION]) ** -2.0
    own = np.zeros((slots, 2))

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(fit.slot, values, slots)

    for _ in range(steps):
        p = expit(base + own[fit.slot, 0] + own[fit.slot, 1] * u)
        spread, off = p * (1 - p), fit.label - p
        gradient = np.stack([sums(off), sums(off * u)], 1) - precision * own
        cross = sums(spread * u)
        found = [[sums(spread) + precision[0], cross], [cross, sums(spread * u**2) + precision[1]]]
        information = np.moveaxis(np.array(found), 2, 0)
        own += np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
    u, base = known(test)
    variance = np.linalg.inv(information)[test.slot]
    wide = variance[:, 0, 0] + 2 * u * variance[:, 0, 1] + u**2 * variance[:, 1, 1]
    mode = base + own[test.slot, 0] + own[test.slot, 1] * u
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    pairs = zip(nodes, weights / weights.sum(), strict=True)
    return sum(weight * expit(mode + node * np.sqrt(wide)) for node, weight in pairs)


def log_loss(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the expected log loss of predictions where labels follow the true probabilities."""
    p = np.clip(predicted, 1e-15, 1 - 1e-15)
    return float(-np.mean(true * np.log(p) + (1 - true) * np.log1p(-p)))


def field_error(true: np.ndarray, predicted: np.ndarray, slot: np.ndarray, bins: int = 1) -> float:
    """Return the Field-ECE, of equally frequent bins inside the slots (F-ECE@bins) if asked."""
    order = np.lexsort((predicted, slot))
    field = slot[order]
    first = np.searchsorted(field, field)
    size = np.bincount(field)[field]
    part = (np.arange(len(field)) - first) * bins // size
    off = np.bincount(field * bins + part, (predicted - true)[order])
    return float(np.abs(off).sum() / len(true))

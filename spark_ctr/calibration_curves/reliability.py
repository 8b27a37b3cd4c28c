"""How far probabilities are from click rates, from sums of rows: one definition of each number."""

from __future__ import annotations

import math

import numpy as np

from spark_ctr.calibration_curves.bins import Floats, Integers
from spark_ctr.calibration_curves.slots import SlotLogistic


def mean_error(predicted: Floats, clicks: Floats, rows: float) -> float:
    """Return sum of abs(predicted - clicks) over groups, a row: ECE of bins, Field-ECE of slots."""
    return float(np.abs(predicted - clicks).sum()) / rows


def mean_relative_error(predicted: Floats, clicks: Floats, rows: Floats) -> float:
    """Return Field-RCE: each slot's abs(predicted / clicks - 1), weighted by its rows.

    Slots without a click have none, and count as 0.
    """
    seen = clicks > 0
    off = np.abs(predicted[seen] - clicks[seen]) / clicks[seen]
    return float(rows[seen] @ off / rows.sum())


def normalized_entropy(log_loss: float, rate: float) -> float:
    """Return a log loss over that of the click rate; nan where all rows are alike.

    References
    ----------
    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    if not 0 < rate < 1:
        return math.nan
    return -log_loss / (rate * math.log(rate) + (1 - rate) * math.log(1 - rate))


def cox(
    slot: Integers, logit: Floats, rows: Floats, clicks: Floats, slots: int
) -> tuple[Floats, Floats]:
    """Return intercept and slope of a logistic regression of clicks on log-odds, of each slot.

    0 and 1 are right. nan where they are not determined: without clicks, with nothing else, with
    one score, or where a score separates them.

    Parameters
    ----------
    slot : int64 array [C]
        0 to ``slots`` - 1.
    logit, rows, clicks : float64 array [C]
    slots : int

    References
    ----------
    Cox, "Two further applications of a model for binary regression", Biometrika 1958.
    """
    problem = SlotLogistic(slot, logit, logit, rows, clicks, slots)
    with np.errstate(all="ignore"):
        at, _ = problem.mode(np.zeros((2, slots)), np.full(2, np.inf), steps=100)
        gradient, (aa, ab, bb) = problem.moments(at, np.zeros(2))
        # Where scores separate the clicks, the information vanishes as the slope runs away.
        flat = ~(aa * bb - ab * ab > 1e-9 * np.maximum(aa * bb, 1e-9))
        wrong = flat | ~(np.abs(gradient).max(0) < 1e-6 * (1.0 + problem.total(rows)))
    return np.where(wrong, np.nan, at[0]), np.where(wrong, np.nan, 1.0 + at[1])

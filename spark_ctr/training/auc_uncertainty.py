"""Standard errors of the area under the ROC curve, and of differences of two (DeLong).

References
----------
DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves", Biometrics 1988; the algorithm by midranks is of Sun and Xu, "Fast
implementation of DeLong's algorithm", IEEE Signal Processing Letters 2014.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Z_95 = 1.959963984540054


class Estimate(NamedTuple):
    """A value and its standard error; nan where the rows cannot tell."""

    value: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval, by the normal distribution."""
        half = Z_95 * self.standard_error
        return self.value - half, self.value + half


def auc_estimate(label: ArrayLike, score: ArrayLike) -> Estimate:
    """AUC and its standard error over other rows of the same kind, in O(N log N).

    Parameters
    ----------
    label : array_like, [N]
        0 or 1.
    score : array_like, [N]

    Returns
    -------
    Estimate
        nan without both labels. The error is nan with fewer than two rows of a label, and where the
        scores separate the labels perfectly: rows of that kind say nothing about the next.
    """
    of_ones, of_zeros = _placements(label, score)
    if not of_ones.size or not of_zeros.size:
        return Estimate(math.nan, math.nan)
    auc = float(of_ones.mean())
    error = _standard_error(of_ones, of_zeros) if 0 < auc < 1 else math.nan
    return Estimate(auc, error)


def auc_difference(label: ArrayLike, first: ArrayLike, second: ArrayLike) -> Estimate:
    """AUC of the second score minus that of the first on the same rows, with its standard error.

    The error takes into account that both scores are of the same rows, and so is smaller than that
    of either where they order the rows alike. Parameters and nan as in :func:`auc_estimate`.
    """
    ones, zeros = (
        after - before
        for before, after in zip(_placements(label, first), _placements(label, second), strict=True)
    )
    if not ones.size or not zeros.size:
        return Estimate(math.nan, math.nan)
    return Estimate(float(ones.mean()), _standard_error(ones, zeros))


def _standard_error(of_ones: NDArray[np.float64], of_zeros: NDArray[np.float64]) -> float:
    if min(of_ones.size, of_zeros.size) < 2:
        return math.nan
    return math.sqrt(of_ones.var(ddof=1) / of_ones.size + of_zeros.var(ddof=1) / of_zeros.size)


def _placements(
    label: ArrayLike, score: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the zeros below each one, and of the ones above each zero; a tie counts half."""
    y, s = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"label and score must have one length, got {y.shape} and {s.shape}")
    if np.isnan(s).any():
        raise ValueError("scores contain nan; check the model's inputs")
    if np.any((y != 0.0) & (y != 1.0)):
        raise ValueError("labels must be 0 or 1")
    ones, zeros = s[y == 1.0], s[y == 0.0]
    ranks = rankdata(np.concatenate([ones, zeros]))
    below = ranks[: ones.size] - rankdata(ones)
    above = ones.size - (ranks[ones.size :] - rankdata(zeros))
    return below / max(1, zeros.size), above / max(1, ones.size)

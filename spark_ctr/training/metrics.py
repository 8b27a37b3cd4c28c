"""Ranking and calibration metrics in numpy.

Labels are 0 or 1; weights default to 1 per row. All functions raise ValueError for arrays of
different lengths, scores that are not numbers, and negative weights.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def roc_auc(label: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve, exact with weights and ties.

    Parameters
    ----------
    label, score, weight : array_like, [N]
        Any increasing transform of the probability does as a score.

    Returns
    -------
    float
        Weighted share of (click, no click) pairs that the score orders rightly, a tie counting
        half; nan if one class is missing.
    """
    y, s, w = _rows(label, score, weight)
    _, group = np.unique(s, return_inverse=True)
    positive = np.bincount(group, w * y)
    negative = np.bincount(group, w * (1.0 - y))
    pairs = positive.sum() * negative.sum()
    if not pairs > 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + 0.5 * negative)) / pairs)


def log_loss(label: ArrayLike, probability: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Weighted mean negative log-likelihood of probabilities, clipped to [1e-15, 1 - 1e-15].

    Returns nan for no rows or weights that sum to 0.
    """
    y, p, w = _rows(label, probability, weight)
    p = np.clip(p, 1e-15, 1.0 - 1e-15)
    return _mean(-(y * np.log(p) + (1.0 - y) * np.log1p(-p)), w)


def log_loss_of_logits(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> float:
    """Weighted mean negative log-likelihood, stable for logits of any size."""
    y, z, w = _rows(label, logit, weight)
    return _mean(np.logaddexp(0.0, z) - y * z, w)


def log_odds(positive: float, negative: float) -> float:
    """Log-odds of a click, from the weights of clicks and of the rest; 0 unless both are > 0."""
    return math.log(positive / negative) if positive > 0 and negative > 0 else 0.0


def calibration_of_logits(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> float:
    """Predicted over observed clicks (PCOC) of the probabilities of logits; nan without a click."""
    y, z, w = _rows(label, logit, weight)
    clicks = float(np.sum(w * y))
    probability = 0.5 * (1.0 + np.tanh(0.5 * z))
    return float(np.sum(w * probability)) / clicks if clicks > 0 else float("nan")


def _mean(values: Floats, weight: Floats) -> float:
    total = weight.sum()
    return float(np.sum(values * weight) / total) if total > 0 else float("nan")


def _rows(
    label: ArrayLike, score: ArrayLike, weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    y = np.asarray(label, dtype=np.float64).ravel()
    s = np.asarray(score, dtype=np.float64).ravel()
    w = np.ones_like(y) if weight is None else np.asarray(weight, dtype=np.float64).ravel()
    if not y.shape == s.shape == w.shape:
        raise ValueError(
            f"label, score and weight must have equal lengths, got {y.size}, {s.size}, {w.size}"
        )
    if np.isnan(s).any():
        raise ValueError("scores contain nan; check the model's inputs")
    if np.any((y != 0.0) & (y != 1.0)):
        raise ValueError("labels must be 0 or 1")
    if np.any(w < 0.0) or np.isnan(w).any():
        raise ValueError("weights must be >= 0")
    return y, s, w

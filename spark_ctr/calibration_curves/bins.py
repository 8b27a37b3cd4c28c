"""Bins of equal width in log-odds, whose number is arithmetic in the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Log-odds of the outer edges: 1.1e-7 and its opposite. Scores beyond count in the last bins.
LOW, HIGH = -16.0, 16.0
CLIP = 1e-15  # a score of 0 or 1 has no finite log-odds


def log_odds(probability: ArrayLike) -> Floats:
    """Return ln(p / (1 - p)) of probabilities clipped to [1e-15, 1 - 1e-15]."""
    p = np.clip(np.asarray(probability, dtype=np.float64), CLIP, 1.0 - CLIP)
    return np.log(p / (1.0 - p))


def sigmoid(logit: ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-z))."""
    z = np.asarray(logit, dtype=np.float64)
    return 0.5 * (1.0 + np.tanh(0.5 * z))


@dataclass(frozen=True)
class ScoreBins:
    """``count`` bins of equal width over log-odds from -16 to 16.

    Click rates crowd near 0, where bins of equal width over probabilities would hold nearly all
    rows in one.
    """

    count: int

    @property
    def width(self) -> float:
        """Width of a bin in log-odds."""
        return (HIGH - LOW) / self.count

    def of(self, probability: ArrayLike) -> Integers:
        """Return the bin of each probability, 0 to ``count`` - 1."""
        place = np.floor((log_odds(probability) - LOW) / self.width)
        return np.clip(place, 0, self.count - 1).astype(np.int64)

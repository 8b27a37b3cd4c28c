"""Strictly increasing maps of a score's log-odds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spark_ctr.calibration_curves.bins import HIGH, LOW, Floats, log_odds

IDENTITY = (1.0, 1.0, 0.0)


@dataclass(frozen=True, eq=False)
class BetaCurve:
    """``a * ln(p) - b * ln(1 - p) + c``, of which Platt's and a temperature's are cases (a = b).

    Attributes
    ----------
    a, b, c : float
        a and b are not negative, and not both 0.
    """

    a: float
    b: float
    c: float

    def __call__(self, probability: ArrayLike) -> Floats:
        """Return the calibrated log-odds of scores."""
        z = log_odds(probability)
        # ln p = -ln(1 + exp(-z)), without loss where p is near 0 or 1.
        return -self.a * np.logaddexp(0.0, -z) + self.b * np.logaddexp(0.0, z) + self.c


@dataclass(frozen=True, eq=False)
class LinearCurve:
    """Linear between nodes at equal distances in log-odds, so that a piece is found by arithmetic.

    Attributes
    ----------
    values : float64 array [K + 1]
        Calibrated log-odds at K + 1 nodes from -16 to 16, increasing. Beyond the nodes the first
        and the last piece go on.
    """

    values: Floats

    @property
    def step(self) -> float:
        """Distance of the nodes."""
        return (HIGH - LOW) / (len(self.values) - 1)

    @property
    def pieces(self) -> tuple[Floats, Floats]:
        """Offset and slope of each piece, float64 [K]: offset + slope * z."""
        nodes = LOW + self.step * np.arange(len(self.values) - 1)
        slope = np.diff(self.values) / self.step
        return self.values[:-1] - slope * nodes, slope

    def __call__(self, probability: ArrayLike) -> Floats:
        """Return the calibrated log-odds of scores."""
        z = log_odds(probability)
        offset, slope = self.pieces
        piece = np.clip(np.floor((z - LOW) / self.step), 0, len(slope) - 1).astype(np.int64)
        return offset[piece] + slope[piece] * z


Curve = BetaCurve | LinearCurve

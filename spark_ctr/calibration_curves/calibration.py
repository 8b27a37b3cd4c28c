"""A fitted calibration: the curve of all rows, and what each slot's differ from it by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spark_ctr.calibration_curves.bins import Floats, Integers, sigmoid
from spark_ctr.calibration_curves.curve import Curve
from spark_ctr.calibration_curves.methods import fit_curve
from spark_ctr.calibration_curves.slots import fit_lines, fit_ratios
from spark_ctr.calibration_curves.statistics import SlotStatistics

SLOT_METHODS = ("platt", "ratio", "none")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Maps scores to probabilities, by slot; a slot that was not seen takes the global curve.

    Attributes
    ----------
    curve : Curve
        Global, in log-odds.
    keys : int64 array [S]
        Increasing.
    offset, slope : float64 array [S]
        Of a slot's log-odds, ``offset + slope * curve``.
    shrinkage : dict of str to float
        What the slots gave: deviations of offset and slope, or prior clicks of the ratio.
    """

    curve: Curve
    keys: Integers
    offset: Floats
    slope: Floats
    shrinkage: dict[str, float]

    def __call__(self, probability: ArrayLike, slot: ArrayLike | None = None) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        probability : array_like [N]
        slot : int array [N], optional
            Key of each row's slot.
        """
        g = self.curve(probability)
        if slot is None or not len(self.keys):
            return sigmoid(g)
        wanted = np.asarray(slot, dtype=np.int64)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        seen = self.keys[place] == wanted
        offset, slope = np.where(seen, [self.offset[place], self.slope[place]], [[0.0], [1.0]])
        return sigmoid(offset + slope * g)


def fit_calibration(
    statistics: SlotStatistics, method: str = "isotonic", slot_method: str = "platt"
) -> Calibration:
    """Fit the global curve, and the slots' corrections on top of it.

    Parameters
    ----------
    statistics : SlotStatistics
    method : str
        Of the global curve: "isotonic", "platt", "temperature", "beta" or "histogram".
    slot_method : str
        "platt" for an offset and a slope a slot in log-odds, "ratio" for a factor of its
        expected clicks, "none" for the global curve alone.
    """
    curve = fit_curve(statistics, method)
    slots = statistics.slots
    offset, slope = np.zeros(slots), np.ones(slots)
    shrinkage: dict[str, float] = {}
    if slots and slot_method == "platt":
        lines = fit_lines(statistics, curve)
        offset, slope = lines.offset, lines.slope
        deviations = map(float, lines.deviation)
        shrinkage = dict(zip(("offset_deviation", "slope_deviation"), deviations, strict=True))
    elif slots and slot_method == "ratio":
        ratios = fit_ratios(statistics, curve)
        offset, shrinkage = ratios.offset, {"prior_clicks": ratios.prior_clicks}
    return Calibration(curve, statistics.keys, offset, slope, shrinkage)

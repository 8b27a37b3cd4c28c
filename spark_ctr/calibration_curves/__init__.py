"""Calibration of scores from sums by slot and score bin: pure numpy and scipy."""

from .bins import ScoreBins, log_odds, sigmoid
from .calibration import SLOT_METHODS, Calibration, fit_calibration
from .curve import BetaCurve, Curve, LinearCurve
from .methods import METHODS, fit_curve
from .reliability import cox, mean_error, mean_relative_error, normalized_entropy
from .slots import SlotLines, SlotRatios, fit_lines, fit_ratios
from .statistics import SlotStatistics

__all__ = [
    "METHODS",
    "SLOT_METHODS",
    "BetaCurve",
    "Calibration",
    "Curve",
    "LinearCurve",
    "ScoreBins",
    "SlotLines",
    "SlotRatios",
    "SlotStatistics",
    "cox",
    "fit_calibration",
    "fit_curve",
    "fit_lines",
    "fit_ratios",
    "log_odds",
    "mean_error",
    "mean_relative_error",
    "normalized_entropy",
    "sigmoid",
]

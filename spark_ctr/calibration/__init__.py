"""Calibration of any model's click probabilities, by ad slot where slots differ."""

from spark_ctr.calibration.probability_calibrator import (
    ProbabilityCalibrator,
    ProbabilityCalibratorModel,
)

__all__ = ["ProbabilityCalibrator", "ProbabilityCalibratorModel"]

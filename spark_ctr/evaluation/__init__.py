"""Evaluators of predicted click probabilities."""

from spark_ctr.evaluation.calibration_evaluator import CalibrationEvaluator

__all__ = ["CalibrationEvaluator"]

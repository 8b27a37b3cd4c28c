"""Click-through-rate classifiers."""

from spark_ctr.classification.ctr_classifier import (
    CTRClassificationModel,
    CTRClassifier,
    TrainingSummary,
)

__all__ = ["CTRClassificationModel", "CTRClassifier", "TrainingSummary"]

"""Click-through-rate classifiers."""

from spark_ctr.classification.ctr_classifier import CTRClassificationModel, CTRClassifier
from spark_ctr.estimator.summary import TrainingSummary

__all__ = ["CTRClassificationModel", "CTRClassifier", "TrainingSummary"]

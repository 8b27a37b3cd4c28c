"""Classifiers of several tasks: a click, and what comes of it."""

from spark_ctr.multitask.multi_task_classifier import (
    MultiTaskClassificationModel,
    MultiTaskClassifier,
)

__all__ = ["MultiTaskClassificationModel", "MultiTaskClassifier"]

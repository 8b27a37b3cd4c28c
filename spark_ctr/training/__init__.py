"""Training of networks."""

from spark_ctr.training.distillation import DistillationLoss
from spark_ctr.training.history import History
from spark_ctr.training.progress import Progress, make_progress
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import Predictions, predict, train

__all__ = [
    "DistillationLoss",
    "History",
    "Predictions",
    "Progress",
    "TrainingSettings",
    "make_progress",
    "predict",
    "train",
]

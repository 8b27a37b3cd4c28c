"""Training of networks."""

from spark_ctr.training.checkpoints import Checkpoints
from spark_ctr.training.distillation import DistillationLoss
from spark_ctr.training.history import History
from spark_ctr.training.predictions import Predictions, predict
from spark_ctr.training.progress import Progress, make_progress
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train

__all__ = [
    "Checkpoints",
    "DistillationLoss",
    "History",
    "Predictions",
    "Progress",
    "Ranks",
    "TrainingSettings",
    "make_progress",
    "predict",
    "train",
]

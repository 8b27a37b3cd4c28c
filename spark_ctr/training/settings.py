"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.rowwise import OPTIMIZERS
from spark_ctr.training.schedule import SCHEDULES


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of `train`.

    Parameters
    ----------
    learning_rate : float
    optimizer : {"adam", "adagrad"}
        Of the embedding tables, see `training.rowwise`; the rest is trained with AdamW.
    batch_size : int
        Rows per batch, for whoever opens the feeds; `train` takes batches as they come.
    max_epochs : int
    patience : int
        Stop after this many epochs in a row without a better monitored figure.
    weight_decay : float
        Decoupled weight decay of all matrices but the embedding tables.
    embedding_l2 : float
        L2 penalty of the embedding rows, see `training.rowwise`.
    clip_norm : float, optional
        Largest norm of the gradient; None leaves it as it is.
    learning_rate_decay : float
        Factor on the learning rate after an epoch without improvement, for schedule "plateau".
    schedule : {"constant", "plateau", "cosine", "linear"}
        Learning rate over the steps, see `training.schedule`.
    warmup_steps : int
        Steps over which the learning rate first rises linearly.
    average_weights : bool
        Validate and return the average of the weights, see `training.averaging`.
    monitor : {"auc", "log_loss"}
        Figure on the validation rows that chooses the best epoch.
    recalibrate : bool
        Fit slope and offset of the logits to the validation rows after the last epoch, and keep
        them where they help, see `training.recalibration`.
    seed : int
        Seed of dropout. The order of rows is the feed's.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where there is one.
    precision : {"auto", "float32", "bfloat16"}
        Of the products of matrices, see `training.precision_context`.

    Raises
    ------
    ValueError
        For a value out of range.
    """

    learning_rate: float = 1e-3
    optimizer: str = "adam"
    batch_size: int = 1024
    max_epochs: int = 20
    patience: int = 3
    weight_decay: float = 0.0
    embedding_l2: float = 0.0
    clip_norm: float | None = None
    learning_rate_decay: float = 0.5
    schedule: str = "plateau"
    warmup_steps: int = 0
    average_weights: bool = False
    monitor: str = "auc"
    recalibrate: bool = False
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("learning_rate", self.learning_rate > 0, "> 0"),
            ("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            ("batch_size", self.batch_size >= 1, ">= 1"),
            ("max_epochs", self.max_epochs >= 0, ">= 0"),
            ("patience", self.patience >= 1, ">= 1"),
            ("weight_decay", self.weight_decay >= 0, ">= 0"),
            ("embedding_l2", self.embedding_l2 >= 0, ">= 0"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "> 0 or None"),
            ("learning_rate_decay", 0 < self.learning_rate_decay <= 1, "in (0, 1]"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("warmup_steps", self.warmup_steps >= 0, ">= 0"),
            ("monitor", self.monitor in ("auc", "log_loss"), "'auc' or 'log_loss'"),
            ("device", self.device in ("auto", "cpu", "cuda"), "'auto', 'cpu' or 'cuda'"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

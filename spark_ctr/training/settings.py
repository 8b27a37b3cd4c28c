"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of `train`.

    Parameters
    ----------
    learning_rate : float
        Of Adam.
    batch_size : int
        Rows per batch, for whoever opens the feeds; `train` takes batches as they come.
    max_epochs : int
    patience : int
        Stop after this many epochs in a row without a better monitored figure.
    weight_decay : float
        Decoupled weight decay of all matrices but the embedding tables.
    embedding_l2 : float
        L2 penalty of the embedding rows in a batch.
    clip_norm : float, optional
        Largest norm of the gradient; None leaves it as it is.
    learning_rate_decay : float
        Factor on the learning rate after an epoch without improvement; 1 keeps it.
    monitor : {"auc", "log_loss"}
        Figure on the validation rows that chooses the best epoch.
    seed : int
        Seed of dropout. The order of rows is the feed's.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where there is one.

    Raises
    ------
    ValueError
        For a value out of range.
    """

    learning_rate: float = 1e-3
    batch_size: int = 1024
    max_epochs: int = 20
    patience: int = 3
    weight_decay: float = 0.0
    embedding_l2: float = 0.0
    clip_norm: float | None = None
    learning_rate_decay: float = 0.5
    monitor: str = "auc"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("learning_rate", self.learning_rate > 0, "> 0"),
            ("batch_size", self.batch_size >= 1, ">= 1"),
            ("max_epochs", self.max_epochs >= 0, ">= 0"),
            ("patience", self.patience >= 1, ">= 1"),
            ("weight_decay", self.weight_decay >= 0, ">= 0"),
            ("embedding_l2", self.embedding_l2 >= 0, ">= 0"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "> 0 or None"),
            ("learning_rate_decay", 0 < self.learning_rate_decay <= 1, "in (0, 1]"),
            ("monitor", self.monitor in ("auc", "log_loss"), "'auc' or 'log_loss'"),
            ("device", self.device in ("auto", "cpu", "cuda"), "'auto', 'cpu' or 'cuda'"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")

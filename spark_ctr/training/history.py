"""Record of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """What happened in training.

    Attributes
    ----------
    epochs : list of dict
        One per epoch: epoch (from 0), train_loss (mean of the loss that was minimised), valid_loss
        (log loss), valid_auc, valid_calibration (clicks predicted over clicks observed),
        learning_rate, rows_per_second (training only), data_wait_share
        (share of the training time spent waiting for batches), seconds (with validation) and
        peak_memory (bytes so far: of this process, or of the GPU's tensors). Where patience looks
        at the objective, valid_objective is it on the validation rows. Validation figures
        that do not exist are nan; of several tasks they are means, and "tasks" has those of each
        by name. In distributed training, times and memory are the first
        process's.
    best_epoch : int
        Epoch whose weights the network has; -1 if there was none.
    monitor : str
        Figure that chose it: "auc", "log_loss", or "none" without validation rows.
    stopped_early : bool
        Whether patience ran out before the last epoch.
    resumed_at : list of int
        Steps at which training went on from a checkpoint.
    recalibration : dict
        Of `training.recalibration.Recalibration`, of several tasks one by name; empty where none
        was asked for, or without validation rows.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    monitor: str = "none"
    stopped_early: bool = False
    resumed_at: list[int] = field(default_factory=list)
    recalibration: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, Any]:
        """Record of the best epoch."""
        return self.epochs[self.best_epoch]

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON, with None for nan."""
        return {
            "epochs": [_without_nan(record) for record in self.epochs],
            "best_epoch": self.best_epoch,
            "monitor": self.monitor,
            "stopped_early": self.stopped_early,
            "resumed_at": self.resumed_at,
            "recalibration": self.recalibration,
        }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value

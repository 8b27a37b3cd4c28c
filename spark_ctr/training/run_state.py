"""Where a training run stands, besides its tensors."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from spark_ctr.training.history import History


@dataclass
class EpochTotals:
    """Sums over the batches of an epoch so far, in this process.

    Attributes
    ----------
    rows : int
    loss, weight : float
        Sum of batch losses times their weight, and sum of the weights.
    seconds, waited : float
        Time of the epoch, and the part of it spent waiting for batches.
    """

    rows: int = 0
    loss: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class RunState:
    """Position in a run, and what decides on its end.

    Attributes
    ----------
    epoch, step : int
        Epoch under way (from 0), and batches of it that were trained.
    steps : int
        Batches trained since the first epoch.
    totals : EpochTotals
        Of the epoch under way.
    history : History
        Of the finished epochs.
    best_value : float
        Best monitored figure, larger is better.
    best_objective : float
        Best objective on the validation rows, smaller is better, where patience looks at it.
    worse : int
        Epochs in a row without a better one.
    plateau : float
        Factor on the learning rate after such epochs.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    totals: EpochTotals = field(default_factory=EpochTotals)
    history: History = field(default_factory=History)
    best_value: float = -math.inf
    best_objective: float = math.inf
    worse: int = 0
    plateau: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return a form for Python's JSON, which keeps infinities, nan and all bits of a float."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunState:
        """Build from what `to_dict` returned."""
        totals, history = EpochTotals(**values["totals"]), History(**values["history"])
        return cls(**{**values, "totals": totals, "history": history})

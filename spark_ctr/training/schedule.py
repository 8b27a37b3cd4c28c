"""Learning rate over the steps of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULES = ("constant", "plateau", "cosine", "linear")


@dataclass(frozen=True)
class Schedule:
    """Factor on the learning rate, a pure function of the step, so that there is no state to save.

    Parameters
    ----------
    name : {"constant", "plateau", "cosine", "linear"}
        "constant" stays at 1. "plateau" does too, and has the trainer multiply in
        `after_worse_epoch`. "cosine" (half a period) and "linear" fall from 1 to 0 over the
        planned steps that follow the warmup, whether training stops early or not.
    warmup_steps : int
        Steps over which the factor first rises linearly to 1.

    Raises
    ------
    ValueError
        For an unknown name or negative steps.

    References
    ----------
    Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts ("cosine").
    """

    name: str = "plateau"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.name!r}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be >= 0, got {self.warmup_steps}")

    def factor(self, step: int, total_steps: int) -> float:
        """Return the factor for a step.

        Parameters
        ----------
        step : int
            From 0, counted over all epochs.
        total_steps : int
            Planned steps: of an epoch, times the most epochs.

        Returns
        -------
        float
            In (0, 1] for a planned step, at least 0 for any.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.name in ("constant", "plateau"):
            return 1.0
        decaying = max(total_steps - self.warmup_steps, 1)
        done = min((step - self.warmup_steps) / decaying, 1.0)
        return 1 - done if self.name == "linear" else (1 + math.cos(math.pi * done)) / 2

    def after_worse_epoch(self, decay: float) -> float:
        """Return what an epoch without improvement multiplies the learning rate by."""
        return decay if self.name == "plateau" else 1.0

"""What a network is trained for, in a form that can travel to other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.training.distillation import DistillationLoss
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import click_loss


@dataclass(frozen=True)
class Objective:
    """Cross-entropy of clicks, or distillation of a teacher.

    Attributes
    ----------
    options : dict
        JSON-able keyword arguments of `training.loss.click_loss`, or of
        `training.distillation.DistillationLoss` where there is a teacher.
    teacher : Network, optional
    """

    options: dict[str, Any] = field(default_factory=dict)
    teacher: Network | None = None

    def loss(self, network: Network) -> Callable[[Network, Batch], Tensor]:
        """Return the loss of a network that is about to be trained."""
        if self.teacher is None:
            return partial(click_loss, **self.options)
        return DistillationLoss(self.teacher, network, **self.options)

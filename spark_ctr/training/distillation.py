"""Layer-wise distillation of a teacher network into a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spark_ctr.networks.network import Network
from spark_ctr.training.losses.hidden import match_layers
from spark_ctr.training.losses.objective import Objective, ObjectiveLoss, TermSettings

__all__ = ["DistillationLoss", "distillation", "match_layers"]


def distillation(
    teacher: Network,
    *,
    logit_weight: float = 1.0,
    layer_weights: float | Sequence[float] = 0.1,
    decay_epochs: int = 5,
    logit_shift: float = 0.0,
    seed: int = 0,
) -> Objective:
    """Return the objective of a student: labels, the teacher's logits and its hidden layers.

    Parameters
    ----------
    teacher : Network
        Put into evaluation mode and never trained.
    logit_weight : float
        Weight of the term "logits".
    layer_weights, decay_epochs, seed
        Of the term "hidden".
    logit_shift : float
        Of the term "click".
    """
    # A student of several members learns by the loss of their mean, as it is compared.
    click = {"logit_shift": logit_shift, "by_member": False}
    hidden = {"layer_weights": layer_weights, "decay_epochs": decay_epochs, "seed": seed}
    terms = (
        TermSettings("click", options=click),
        TermSettings("logits", logit_weight),
        TermSettings("hidden", options=hidden),
    )
    return Objective(terms, {"teacher": teacher})


class DistillationLoss(ObjectiveLoss):
    """Loss of a student, for `training.train`.

    Parameters
    ----------
    teacher, student : Network
    **options
        Of `distillation`.
    """

    def __init__(self, teacher: Network, student: Network, **options: Any) -> None:
        super().__init__(distillation(teacher, **options), student)

    @property
    def matched(self) -> dict[str, str]:
        """The teacher's layer that each of the student's hidden layers follows."""
        return self.terms[2].matched  # type: ignore[return-value]

"""Layer-wise distillation of a teacher network into a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spark_ctr.networks.network import Network
from spark_ctr.settings import Setting, integer, number
from spark_ctr.training.losses.hidden import match_layers
from spark_ctr.training.losses.objective import Objective, ObjectiveLoss, TermSettings

__all__ = ["DISTILLATION", "DistillationLoss", "distillation", "match_layers"]


DISTILLATION: dict[str, Setting] = {
    "logit_weight": number(
        1.0, at_least=0.0, doc="weight of the squared difference from the teacher's logits"
    ),
    "layer_weights": number(
        0.1, at_least=0.0, doc="weight of each hidden layer's distance from the teacher's"
    ),
    "decay_epochs": integer(
        5, at_least=1, doc="epochs over which the weight of hidden layers falls to 0"
    ),
}


def distillation(
    teacher: Network,
    *,
    logit_weight: float = DISTILLATION["logit_weight"].default,
    layer_weights: float | Sequence[float] = DISTILLATION["layer_weights"].default,
    decay_epochs: int = DISTILLATION["decay_epochs"].default,
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

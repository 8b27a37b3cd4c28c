"""Layer-wise distillation of a teacher network into a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spark_ctr.networks.network import Network
from spark_ctr.settings import Setting, integer, number
from spark_ctr.training.losses.hidden import PAIRING, HiddenDistance, match_layers
from spark_ctr.training.losses.logits import LOSS, TEMPERATURE, UNLABELLED_WEIGHT
from spark_ctr.training.losses.objective import Objective, ObjectiveLoss, TermSettings

__all__ = ["DISTILLATION", "DistillationLoss", "distillation", "match_layers"]


DISTILLATION: dict[str, Setting] = {
    "logit_weight": number(
        2.0,
        at_least=0.0,
        doc="weight of the distance from the teacher's logits, a squared one in units of their "
        "variance",
    ),
    "layer_weights": number(
        0.0, at_least=0.0, doc="weight of each hidden layer's distance from the teacher's"
    ),
    "decay_epochs": integer(
        5, at_least=1, doc="epochs over which the weight of all layers falls to 0"
    ),
    "logit_loss": LOSS,
    "temperature": TEMPERATURE,
    "unlabelled_weight": UNLABELLED_WEIGHT,
    "pairing": PAIRING,
    "embedding_weight": number(
        0.0, at_least=0.0, doc="weight of the embedded columns' distance from the teacher's"
    ),
    "cross_weight": number(
        0.0, at_least=0.0, doc="weight of each cross layer's distance from the teacher's"
    ),
    "click_weight": number(1.0, at_least=0.0, doc="weight of the labels"),
}


def distillation(
    teacher: Network | None,
    *,
    logit_weight: float = DISTILLATION["logit_weight"].default,
    layer_weights: float | Sequence[float] = DISTILLATION["layer_weights"].default,
    decay_epochs: int = DISTILLATION["decay_epochs"].default,
    logit_loss: str = LOSS.default,
    temperature: float = TEMPERATURE.default,
    unlabelled_weight: float = UNLABELLED_WEIGHT.default,
    pairing: str | Sequence[int] = PAIRING.default,
    embedding_weight: float = DISTILLATION["embedding_weight"].default,
    cross_weight: float = DISTILLATION["cross_weight"].default,
    click_weight: float = DISTILLATION["click_weight"].default,
    logit_variance: float = 1.0,
    logit_shift: float = 0.0,
    labels: TermSettings | None = None,
    seed: int = 0,
) -> Objective:
    """Return the objective of a student: labels, the teacher's logits and its layers.

    Terms without weight are left out.

    Parameters
    ----------
    teacher : Network or None
        Put into evaluation mode and never trained; it does not run over rows that come with its
        logits once layers no longer count. None where all rows do and no layers count.
    logit_weight, logit_loss, temperature, unlabelled_weight
        Of the term "logits".
    logit_variance : float
        Of the teacher's logits over training rows, which the squared distance is divided by, so
        that one weight suits logs whose logits lie close together or far apart.
    layer_weights, pairing
        Of the term "hidden" for the perceptron.
    embedding_weight, cross_weight : float
        Of the term "hidden" for the embedded columns and the cross layers, paired uniformly.
    decay_epochs, seed
        Of all terms "hidden".
    click_weight, logit_shift
        Of the term "click".
    labels : TermSettings, optional
        Term in the place of "click", whose weight is `click_weight`.

    Raises
    ------
    ValueError
        If neither labels nor logits have a weight, or layers have one and there is no teacher.
    """
    if not click_weight and not logit_weight:
        raise ValueError(
            "click_weight and logit_weight are both 0: nothing is left to learn after "
            f"{decay_epochs} epochs (decay_epochs)"
        )
    if labels is None:
        # A student of several members learns by the loss of their mean, as it is compared.
        click = {"logit_shift": logit_shift, "by_member": False}
        labels = TermSettings("click", options=click)
    logits = {
        "loss": logit_loss,
        "temperature": temperature,
        "unlabelled_weight": unlabelled_weight,
    }
    fading = {"decay_epochs": decay_epochs, "seed": seed}
    hidden = {"layer_weights": layer_weights, "pairing": pairing, **fading}
    hidden_counts = layer_weights if isinstance(layer_weights, float | int) else any(layer_weights)
    layers = [
        term
        for weight, term in (
            (hidden_counts, TermSettings("hidden", 1.0, hidden)),
            (cross_weight, TermSettings("hidden", cross_weight, {"layers": "cross", **fading})),
            (
                embedding_weight,
                TermSettings("hidden", embedding_weight, {"layers": "embedding", **fading}),
            ),
        )
        if weight
    ]
    if layers and teacher is None:
        raise ValueError(
            "layers can be compared with a teacher network only: without one, layer_weights, "
            "cross_weight and embedding_weight must be 0"
        )
    unit = logit_variance if logit_loss == "mse" else 1.0
    heads = (
        replace(labels, weight=click_weight),
        TermSettings("logits", logit_weight / unit, logits),
    )
    terms = (*(term for term in heads if term.weight), *layers)
    return Objective(terms, {} if teacher is None else {"teacher": teacher})


class DistillationLoss(ObjectiveLoss):
    """Loss of a student, for `training.train`.

    Parameters
    ----------
    teacher, student : Network
    **options
        Of `distillation`.
    """

    def __init__(self, teacher: Network | None, student: Network, **options: Any) -> None:
        super().__init__(distillation(teacher, **options), student)

    @property
    def matched(self) -> dict[str, str]:
        """The teacher's layer that each of the student's hidden layers follows."""
        of = (t for t in self.terms if isinstance(t, HiddenDistance) and t.layers == "hidden")
        return next((term.matched for term in of), {})

"""Term "logits": how far the logits are from a teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.settings import choice, number
from spark_ctr.training.loss import weighted_mean
from spark_ctr.training.losses.term import Outputs, Term

LOSS = choice(
    "mse",
    "cross_entropy",
    doc="distance of the logits from the teacher's: 'mse', their squared difference, or "
    "'cross_entropy' of the probabilities at a temperature",
)
TEMPERATURE = number(
    1.0, above=0.0, doc="what logits are divided by for the distance 'cross_entropy'"
)
UNLABELLED_WEIGHT = number(
    1.0,
    at_least=0.0,
    doc="weight of the logits of rows without labels, relative to those of rows with labels",
)


class LogitDistance(Term):
    """Distance of the logits from a teacher's, summed over tasks: of rows with labels and without.

    With the loss "mse" it is (z - z_teacher)^2, with "cross_entropy" at temperature t
    t^2 CE(sigmoid(z_teacher / t), sigmoid(z / t)), whose gradients keep their size as t grows. All
    logits are those of all rows, however rows were sampled by label.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`.
    of : str
        Name of the frozen network, of the same tasks; not needed where the rows come with the
        teacher's logits.
    loss : {"mse", "cross_entropy"}
    temperature : float
        Of "cross_entropy".
    unlabelled_weight : float
        Weight of the mean over the rows without labels, times `weight`; with 0 the network does
        not run over them. Means of several processes count by their rows with labels.

    Raises
    ------
    ValueError
        If the tasks differ, or a setting is out of range.

    References
    ----------
    Hinton et al., "Distilling the knowledge in a neural network", 2015.
    """

    def __init__(
        self,
        network: nn.Module,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        of: str = "teacher",
        loss: str = LOSS.default,
        temperature: float = TEMPERATURE.default,
        unlabelled_weight: float = UNLABELLED_WEIGHT.default,
    ) -> None:
        super().__init__(network, frozen, weight)
        if of in frozen and frozen[of].tasks != network.tasks:
            raise ValueError(
                f"{of} and the network must have the same tasks: {frozen[of].tasks} and "
                f"{network.tasks}"
            )
        self.of = of
        self.loss = LOSS.value("loss", loss)
        self.temperature = TEMPERATURE.value("temperature", temperature)
        self.unlabelled_weight = UNLABELLED_WEIGHT.value("unlabelled_weight", unlabelled_weight)

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield the mean distance of a batch, and that of its rows without labels."""
        yield self.weight * self._distance(outputs)
        if self.unlabelled_weight > 0 and outputs.unlabelled is not None:
            further = self._distance(outputs.unlabelled)
            yield self.weight * self.unlabelled_weight * further

    def _distance(self, outputs: Outputs) -> Tensor:
        own, wanted = outputs.logits, outputs.teacher_logits(self.of)
        if self.loss == "mse":
            distance = (own - wanted).square()
        else:
            t = self.temperature
            wanted = torch.sigmoid(wanted.float() / t)
            distance = t**2 * F.binary_cross_entropy_with_logits(
                own.float() / t, wanted, reduction="none"
            )
        return weighted_mean(distance, outputs.batch.weight)

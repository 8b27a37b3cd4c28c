"""Term "logits": how far the logits are from another network's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.training.loss import weighted_mean
from spark_ctr.training.losses.term import Outputs, Term


class LogitDistance(Term):
    """Squared difference of the logits from a frozen network's, summed over tasks.

    Both are those of all rows, however rows were sampled by label.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`.
    of : str
        Name of the frozen network, of the same tasks.

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
    ) -> None:
        super().__init__(network, frozen, weight)
        if frozen[of].tasks != network.tasks:
            raise ValueError(
                f"{of} and the network must have the same tasks: {frozen[of].tasks} and "
                f"{network.tasks}"
            )
        self.of = of

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return the mean difference of a batch."""
        wanted, _ = outputs.of_frozen(self.of)
        difference = (outputs.logits - wanted).square()
        return [self.weight * weighted_mean(difference, outputs.batch.weight)]

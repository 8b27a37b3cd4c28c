"""What students are compared with that others do with a teacher, as terms of a loss.

Rocket launching (Zhou et al., "Rocket launching: a universal and efficient framework for training
well-performing light net", AAAI 2018) trains the light net and its booster together, from the same
embeddings. The hint, the squared difference of their logits, moves the light net and the tables
alone: its gradient is blocked on the way into the booster, which `RocketLaunching` does. A frozen
teacher gets no gradient anyway. `EqualWidths` is how EasyRec's rocket launching follows hidden
layers: those of equal width in pairs, with no map between them, so that a teacher must have the
student's widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks import Network
from spark_ctr.networks.layers.dropout import Dropout
from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.training.loss import weighted_bce, weighted_mean
from spark_ctr.training.losses import Outputs, Term
from spark_ctr.training.losses.hidden import layer_widths


def equal_widths(own: Mapping[str, int], others: Mapping[str, int]) -> dict[str, str]:
    """Pair each layer with the first one of its width behind the last that was paired.

    Raises
    ------
    ValueError
        If no layers are of equal width.
    """
    left, pairs = list(others.items()), {}
    for name, width in own.items():
        at = next((i for i, (_, other) in enumerate(left) if other == width), None)
        if at is not None:
            pairs[name], left = left[at][0], left[at + 1 :]
    if not pairs:
        raise ValueError(f"no layers of equal width: {dict(own)} and {dict(others)}")
    return pairs


class EqualWidths(Term):
    """Mean squared difference of the hidden layers of equal width, summed over the pairs.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`; `frozen` has a "teacher".

    Raises
    ------
    ValueError
        If no layers are of equal width.
    """

    reads_hidden = True

    def __init__(
        self, network: Network, frozen: Mapping[str, Network], weight: float = 1.0
    ) -> None:
        super().__init__(network, frozen, weight)
        self.pairs = equal_widths(layer_widths(network), layer_widths(frozen["teacher"]))

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield the difference of each pair."""
        _, wanted = outputs.of_frozen("teacher")
        for own, other in self.pairs.items():
            gap = (outputs.hidden[own] - wanted[other]).square().mean(1)
            yield self.weight * weighted_mean(gap, outputs.batch.weight)


class RocketLaunching(Term):
    """A booster over the network's own tables, trained along from the labels, and its hint.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`; the weight is that of the hint, and there is no frozen network.
    widths : sequence of int
        Of the booster's perceptron.
    dropout : float
        Of the booster's.
    seed : int
        Of the booster's first weights and its dropout.
    """

    def __init__(
        self,
        network: Network,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        widths: Sequence[int] = (400, 400, 400),
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(network, frozen, weight)
        # In a tuple, the tables stay the network's and are not trained twice.
        self._tables = (network.get_submodule("embedding"),)
        with RandomDraws(seed).drawing():
            self.booster = MLP(network.inputs.width, widths, dropout, "batch")
            self.output = nn.Linear(self.booster.width, 1)
        draws = {"cpu": torch.Generator().manual_seed(seed)}
        for layer in self.booster.modules():
            if isinstance(layer, Dropout):
                layer.generators = draws

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield the booster's cross-entropy, and the hint."""
        batch = outputs.batch
        embedded = self._tables[0](batch.ids)
        deep, _ = self.booster(torch.cat([embedded, batch.numeric], 1))
        boosted = self.output(deep)
        yield weighted_bce(boosted, batch.label, batch.weight, 0.0, batch.known)
        hint = F.mse_loss(outputs.logits, boosted.detach(), reduction="none")
        yield self.weight * weighted_mean(hint, batch.weight)

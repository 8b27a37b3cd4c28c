"""One term of a loss, and what terms are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch


class Outputs:
    """What the networks make of a batch, each computed once for all terms that ask.

    Parameters
    ----------
    network : Network
        That is trained.
    frozen : mapping of str to Network
        On the batch's device, in evaluation mode.
    batch : Batch
    with_hidden : bool
        Whether a term reads hidden layers.
    """

    def __init__(
        self, network: Network, frozen: Mapping[str, Network], batch: Batch, with_hidden: bool
    ) -> None:
        self.batch = batch
        self._network = network
        self._frozen = frozen
        self._with_hidden = with_hidden
        self._of_frozen: dict[str, tuple[Tensor, dict[str, Tensor]]] = {}

    @property
    def logits(self) -> Tensor:
        """Logits [B, T] of the network."""
        return self._own[0]

    @property
    def hidden(self) -> dict[str, Tensor]:
        """Hidden layers [B, width] of the network by name, as `Network.hidden` gives them."""
        return self._own[1]

    @property
    def member_logits(self) -> Tensor:
        """Logits [members, B, T] that have a loss each; of an `Ensemble` by a pass of their own."""
        if isinstance(self._network, Ensemble):
            return self._network.member_logits(self.batch.ids, self.batch.numeric)
        return self.logits.unsqueeze(0)

    def of_frozen(self, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits and hidden layers of a frozen network, without gradients."""
        if name not in self._of_frozen:
            with torch.no_grad():
                self._of_frozen[name] = self._run(self._frozen[name])
        return self._of_frozen[name]

    @cached_property
    def _own(self) -> tuple[Tensor, dict[str, Tensor]]:
        return self._run(self._network)

    def _run(self, network: Network) -> tuple[Tensor, dict[str, Tensor]]:
        ids, numeric = self.batch.ids, self.batch.numeric
        return network.hidden(ids, numeric) if self._with_hidden else (network(ids, numeric), {})


class Term(nn.Module):
    """A term of the loss of one network; its parameters are trained along and go with it.

    Parameters
    ----------
    network : Network
        About to be trained.
    frozen : mapping of str to Network
    weight : float
    **options
        What a subclass declares, JSON-able.

    Raises
    ------
    ValueError
        For a negative weight.
    """

    reads_hidden: ClassVar[bool] = False

    def __init__(
        self, network: nn.Module, frozen: Mapping[str, Network], weight: float, **options: Any
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"the weight of {type(self).__name__} must be >= 0, got {weight}")
        self.weight = weight

    def before_epoch(self, epoch: int) -> None:
        """Prepare for an epoch (from 0)."""

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return scalars to add, weighted: means over the batch by row, or free of the rows."""
        raise NotImplementedError

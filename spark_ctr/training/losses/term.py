"""One term of a loss, and what terms are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.ensemble import Ensemble, members_of
from spark_ctr.networks.layers.batch_norm import running_statistics_kept
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
    statistics_kept : bool
        Whether running statistics of batch normalisation stay as they are.
    """

    def __init__(
        self,
        network: Network,
        frozen: Mapping[str, Network],
        batch: Batch,
        with_hidden: bool,
        statistics_kept: bool = False,
    ) -> None:
        self.batch = batch
        self._network = network
        self._frozen = frozen
        self._with_hidden = with_hidden
        self._statistics_kept = statistics_kept
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

    def teacher_logits(self, name: str) -> Tensor:
        """Return a teacher's logits [B, T]: the batch's own, else those of a frozen network.

        Raises
        ------
        ValueError
            If there are neither, or those of the batch are of another number of tasks.
        """
        given = self.batch.teacher
        if given is None:
            if name not in self._frozen:
                raise ValueError(
                    f"the rows have no logits of a teacher and the objective no network {name!r}: "
                    "give it one, or read the teacher's logits from the files"
                )
            return self.of_frozen(name)[0]
        if given.shape[1] != len(self._network.tasks):
            raise ValueError(
                f"the rows have {given.shape[1]} logits of the teacher each, and the network has "
                f"the tasks {self._network.tasks}: there must be one for each task"
            )
        return given

    def layers(self, kind: str, of: str | None = None) -> dict[str, Tensor]:
        """Return the layers [B, width] of a kind by name, in depth order.

        Parameters
        ----------
        kind : str
            "embedding" for the embedded columns side by side, else what names of hidden layers
            begin with: "hidden" or "cross".
        of : str, optional
            A frozen network; by default the one that is trained.
        """
        if kind == "embedding":
            network = self._network if of is None else self._frozen[of]
            with nullcontext() if of is None else torch.no_grad():
                return {kind: _embedded(network, self.batch.ids)}
        hidden = self.hidden if of is None else self.of_frozen(of)[1]
        return {name: layer for name, layer in hidden.items() if name.startswith(f"{kind}_")}

    @cached_property
    def unlabelled(self) -> Outputs | None:
        """Outputs of the batch's rows without labels, by passes of their own.

        So these rows have no part in the batch normalisation of the others.
        """
        rows = self.batch.unlabelled
        return None if rows is None else Outputs(self._network, self._frozen, rows, False, True)

    @cached_property
    def _own(self) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._statistics_kept:
            return self._run(self._network)
        with running_statistics_kept(self._network):
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

    Attributes
    ----------
    reads_hidden : bool
        Whether it reads hidden layers of the networks.
    decays : bool
        Whether its weight changes over the epochs, so that its values in two of them cannot be
        compared.

    Raises
    ------
    ValueError
        For a negative weight.
    """

    reads_hidden: bool = False
    decays: ClassVar[bool] = False

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


def _embedded(network: Network, ids: Tensor) -> Tensor:
    found = [member.get_submodule("embedding")(ids) for member in members_of(network)]
    return torch.cat(found, 1)

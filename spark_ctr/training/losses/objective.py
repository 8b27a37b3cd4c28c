"""What a network is trained for, in a form that can travel to other processes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.losses.click import Click
from spark_ctr.training.losses.hidden import HiddenDistance
from spark_ctr.training.losses.logits import LogitDistance
from spark_ctr.training.losses.tasks import TaskLosses
from spark_ctr.training.losses.term import Outputs, Term
from spark_ctr.training.named import named

TERMS: dict[str, type[Term]] = {
    "click": Click,
    "tasks": TaskLosses,
    "logits": LogitDistance,
    "hidden": HiddenDistance,
}


@dataclass(frozen=True)
class TermSettings:
    """A term by name, JSON-able.

    Attributes
    ----------
    name : str
        A key of `TERMS`, or "package.module:Class".
    weight : float
    options : dict
        Keyword arguments of the term.
    """

    name: str
    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """A sum of terms, and the networks that they compare with.

    Attributes
    ----------
    terms : tuple of TermSettings
    frozen : mapping of str to Network
        Not trained.
    """

    terms: tuple[TermSettings, ...] = (TermSettings("click"),)
    frozen: Mapping[str, Network] = field(default_factory=dict)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the terms in a JSON-able form."""
        return [asdict(term) for term in self.terms]

    @classmethod
    def from_dicts(cls, terms: list[dict[str, Any]], frozen: Mapping[str, Network]) -> Objective:
        """Build from what `to_dicts` returned."""
        return cls(tuple(TermSettings(**term) for term in terms), frozen)

    def loss(self, network: Network) -> ObjectiveLoss:
        """Return the loss of a network that is about to be trained."""
        return ObjectiveLoss(self, network)


class ObjectiveLoss(nn.Module):
    """Loss of one network: loss(network, batch) -> scalar, for `training.train`.

    Parameters
    ----------
    objective : Objective
        Its networks are put into evaluation mode.
    network : Network

    Attributes
    ----------
    terms : ModuleList

    Raises
    ------
    ValueError
        If a frozen network reads other columns, a term lacks its frozen network, or a setting is
        out of range.
    """

    def __init__(self, objective: Objective, network: Network) -> None:
        super().__init__()
        for name, other in objective.frozen.items():
            if _columns(other) != _columns(network):
                raise ValueError(
                    f"{name} and the network must read the same columns with the same ids: "
                    f"{_columns(other)} and {_columns(network)}"
                )
        # In a dict, their parameters are not the loss's, so they are not trained.
        self._frozen = {name: other.eval() for name, other in objective.frozen.items()}
        self.terms: Sequence[Term] = nn.ModuleList(  # type: ignore[assignment]
            (TERMS.get(term.name) or named(term.name))(
                network, self._frozen, term.weight, **term.options
            )
            for term in objective.terms
        )

    def before_epoch(self, epoch: int) -> None:
        """Prepare the terms for an epoch (from 0)."""
        for other in self._frozen.values():
            other.eval()
        for term in self.terms:
            term.before_epoch(epoch)

    def forward(self, network: Network, batch: Batch) -> Tensor:
        """Compute the loss on a batch: a scalar."""
        return self._sum(self.terms, network, batch)

    def comparable(self, network: Network, batch: Batch) -> Tensor:
        """Compute the part of the loss that epochs can be compared by.

        Terms that decay are left out: the loss would fall with their weight alone.
        """
        return self._sum([term for term in self.terms if not term.decays], network, batch)

    def _sum(self, terms: Sequence[Term], network: Network, batch: Batch) -> Tensor:
        device = batch.label.device
        for name, other in self._frozen.items():
            if next(other.parameters()).device != device:
                # A copy: other trainings may be reading it where it is.
                self._frozen[name] = copy.deepcopy(other).to(device)
        with_hidden = any(term.reads_hidden for term in terms)
        outputs = Outputs(network, self._frozen, batch, with_hidden)
        parts = [part for term in terms for part in term(outputs)]
        if not parts:
            raise ValueError("no term of the objective is left: labels or logits need a weight")
        return reduce(torch.add, parts)


def _columns(network: Network) -> tuple[list[dict[str, Any]], list[str]]:
    inputs = network.inputs
    return [table.ids_layout for table in inputs.tables], list(inputs.numeric)

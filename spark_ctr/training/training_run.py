"""One training: what is trained, for what, and how; in a form that can travel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spark_ctr.networks.network import Network
from spark_ctr.training.losses.objective import Objective
from spark_ctr.training.named import named
from spark_ctr.training.settings import TrainingSettings


@dataclass(frozen=True)
class Change:
    """How a network differs in structure from what the registry builds.

    Attributes
    ----------
    function : str
        "package.module:function", from a network and the options to the changed one.
    options : dict
        JSON-able.
    """

    function: str
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, network: Network) -> Network:
        """Return the changed network."""
        return named(self.function)(network, **self.options)


@dataclass(frozen=True)
class TrainingRun:
    """A network and how to train it.

    Attributes
    ----------
    network : Network
    objective : Objective
    settings : TrainingSettings
    title : str
        Of progress and logs.
    change : Change, optional
        That made the network from one of its name, settings and columns.
    """

    network: Network
    objective: Objective
    settings: TrainingSettings
    title: str
    change: Change | None = None


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, the history of its training (JSON-able), and the reader that was used."""

    network: Network
    history: dict[str, Any]
    feed: str

"""What `spark_ctr` is about to have: goes once `distillation` and `transfer` are there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from spark_ctr.networks import Network
from spark_ctr.training.loss import weighted_mean
from spark_ctr.training.losses import Objective, Outputs, Term, TermSettings


class TaughtLogits(Term):
    """Squared difference from the logits that come with a batch and its unlabelled rows."""

    def __init__(
        self,
        network: Network,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        unlabelled_weight: float = 1.0,
    ) -> None:
        super().__init__(network, frozen, weight)
        self._network = (network,)
        self.unlabelled_weight = unlabelled_weight

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield both differences."""
        batch: Any = outputs.batch
        gap = (outputs.logits - batch.teacher).square()
        yield self.weight * weighted_mean(gap, batch.weight)
        more = getattr(batch, "unlabelled", None)
        if more is not None and self.unlabelled_weight:
            gap = (self._network[0](more.ids, more.numeric) - more.teacher).square()
            yield self.weight * self.unlabelled_weight * weighted_mean(gap, more.weight)


def distillation(
    teacher: Network,
    *,
    logit_weight: float = 0.1,
    unlabelled_weight: float = 1.0,
    layer_weights: float = 0.1,
    decay_epochs: int = 5,
    seed: int = 0,
) -> Objective:
    """Return the objective of a student."""
    logits = {"unlabelled_weight": unlabelled_weight}
    hidden = {"layer_weights": layer_weights, "decay_epochs": decay_epochs, "seed": seed}
    terms = [
        TermSettings("click"),
        TermSettings("benchmarks.distillation_standins:TaughtLogits", logit_weight, logits),
    ]
    if layer_weights:
        terms.append(TermSettings("hidden", options=hidden))
    return Objective(tuple(terms), {"teacher": teacher})


def start(what: str, student: Network, teacher: Network, ids: Tensor, numeric: Tensor) -> None:
    """Start a student's tables, or all its layers, from its teacher's weights."""
    try:
        transfer = importlib.import_module("spark_ctr.training.transfer")
    except ModuleNotFoundError:
        print("spark_ctr.training.transfer is not there: no start", file=sys.stderr)
        return
    transfer.start_tables(student, teacher, ids)
    if what == "layers":
        transfer.start_layers(student, teacher, ids, numeric)

"""A term of a loss on unlabelled rows, named by import path in other processes."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from spark_ctr.training.losses.term import Outputs, Term


class Unlabelled(Term):
    """Squared differences from the teacher on labelled and unlabelled rows, a labelled row."""

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return the sum of squares over the rows of both kinds."""
        batch, network = outputs.batch, outputs._network
        total = (outputs.logits - batch.teacher).square().sum()
        more = batch.unlabelled
        total = total + (network(more.ids, more.numeric) - more.teacher).square().sum()
        return [total / max(batch.rows, 1)]

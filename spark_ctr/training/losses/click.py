"""Term "click": how well the labels are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.training.loss import members_bce, weighted_bce
from spark_ctr.training.losses.term import Outputs, Term


class Click(Term):
    """Weighted binary cross-entropy, summed over tasks.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`.
    logit_shift : float
        See `weighted_bce`. In evaluation mode there is none: rows that choose an epoch are not
        sampled by label.
    by_member : bool
        Of an `Ensemble`, take the loss of each member rather than that of their mean.
    """

    def __init__(
        self,
        network: nn.Module,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        logit_shift: float = 0.0,
        by_member: bool = True,
    ) -> None:
        super().__init__(network, frozen, weight)
        self.logit_shift = logit_shift
        self.by_member = by_member

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return the cross-entropy of a batch."""
        rows, shift = outputs.batch, self.logit_shift if self.training else 0.0
        if self.by_member:
            return [self.weight * members_bce(outputs.member_logits, rows, shift)]
        loss = weighted_bce(outputs.logits, rows.label, rows.weight, shift, rows.counted)
        return [self.weight * loss]

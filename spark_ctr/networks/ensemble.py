"""Networks of one kind side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network


class Ensemble(Network):
    """Networks alike but for their initial weights; the logit is the mean of theirs.

    Nothing is shared, the tables included, and `click_loss` trains each member by its own loss:
    trained by the loss of their mean, members lean on one another and gain less. `hidden` returns
    the members' layers of one name side by side, for a student to follow.

    Parameters
    ----------
    members : sequence of Network
        Of one name, with equal inputs and settings.

    References
    ----------
    Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017; as a teacher of CTR models Zhu et al., "Ensembled CTR prediction via
    knowledge distillation", CIKM 2020.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        first = members[0]
        self.tasks, self.derived_tasks = first.tasks, first.derived_tasks
        super().__init__(first.inputs, {**first.config, "members": len(members)})
        self.name = first.name
        self.members: Sequence[Network] = nn.ModuleList(members)  # type: ignore[assignment]

    def member_logits(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits of every member [members, B, T]."""
        return torch.stack([member(ids, numeric) for member in self.members])

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits, hidden = zip(*(m._outputs(ids, numeric) for m in self.members), strict=True)
        names = hidden[0]
        together = {name: torch.cat([layers[name] for layers in hidden], 1) for name in names}
        return torch.stack(logits).mean(0), together


def members_of(network: nn.Module) -> Sequence[Any]:
    """Return the members of an ensemble, or the one network that it is."""
    return network.members if isinstance(network, Ensemble) else [network]

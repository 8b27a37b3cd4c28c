"""Term "tasks": how well the labels of several tasks are told, and what each task counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.settings import choice, number
from spark_ctr.training.loss import sum_of_members, task_losses
from spark_ctr.training.losses.balance import BALANCES, Balance
from spark_ctr.training.losses.term import Outputs, Term

WEIGHTING = choice(
    "given",
    *BALANCES,
    doc="what the tasks' losses count for: 'given', as their weights say; 'uncertainty', learned "
    "variances; 'gradnorm', gradients of the trunk that fall alike; 'pcgrad', gradients of the "
    "trunk without what works against another task's. The weights are a factor on all of them",
)
ALPHA = number(
    1.5,
    at_least=0.0,
    doc="how strongly 'gradnorm' holds back tasks that learn faster than others",
)


class TaskLosses(Term):
    """Weighted binary cross-entropy of each task's known labels, balanced.

    In evaluation mode it is the sum with the given weights, which epochs can be compared by.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`.
    weights : sequence of float, optional
        One a task, >= 0; by default each is 1.
    weighting : str
        See `WEIGHTING`.
    alpha : float
        See `ALPHA`.
    seed : int
        Of the order of tasks of "pcgrad".
    by_member : bool
        Of an `Ensemble`, take the loss of each member rather than that of their mean.

    Raises
    ------
    ValueError
        For weights that are not one a task, below 0, or all 0; and for a weighting that needs a
        trunk, of a network that has none or of an ensemble.
    """

    def __init__(
        self,
        network: nn.Module,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        weights: Sequence[float] | None = None,
        weighting: str = WEIGHTING.default,
        alpha: float = ALPHA.default,
        seed: int = 0,
        by_member: bool = True,
    ) -> None:
        super().__init__(network, frozen, weight)
        assert isinstance(network, Network)
        tasks = network.tasks
        given = [1.0] * len(tasks) if weights is None else [float(w) for w in weights]
        if len(given) != len(tasks) or not all(w >= 0 for w in given) or not any(given):
            raise ValueError(
                f"weights of the tasks {list(tasks)} must be a number >= 0 each, one of them above "
                f"0: {given}"
            )
        self.weights = given
        self.by_member = by_member
        kind = BALANCES.get(WEIGHTING.value("weighting", weighting))
        counting = [t for t, w in enumerate(given) if w > 0]
        self.balance: Balance | None = None
        if kind is not None and len(counting) > 1:
            options = {"alpha": ALPHA.value("alpha", alpha), "seed": seed}
            self.balance = kind(network, len(counting), options)
        self._counting = counting

    def before_epoch(self, epoch: int) -> None:
        """Let the balance know the epoch."""
        if self.balance is not None:
            self.balance.before_epoch(epoch)

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return the loss of a batch."""
        batch = outputs.batch
        members = outputs.member_logits if self.by_member else outputs.logits.unsqueeze(0)
        losses = [self._loss(task_losses(logits, batch), batch.weight) for logits in members]
        return [self.weight * sum_of_members(losses)]

    def _loss(self, losses: Sequence[Tensor], weight: Tensor) -> Tensor:
        counted = [self.weights[t] * losses[t] for t in self._counting]
        if self.balance is None or not self.training or not torch.is_grad_enabled():
            return torch.stack(counted).sum()
        return self.balance(counted, weight)

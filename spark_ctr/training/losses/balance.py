"""How the losses of several tasks become one, beside plain weights.

What needs each task's gradient by itself takes it of the trunk alone, never of a table: as many
copies of the tables as there are tasks would not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.training.ranks import Ranks


class Balance(nn.Module):
    """Sum of losses in some balance; its parameters are trained along.

    Parameters
    ----------
    network : Network
    tasks : int
        Number of losses.
    options : dict

    Attributes
    ----------
    ranks : Ranks
        The processes that train together, each with a part of the batch; set by the trainer.
    """

    ranks = Ranks()

    def __init__(self, network: Network, tasks: int, options: dict[str, Any]) -> None:
        super().__init__()

    def before_epoch(self, epoch: int) -> None:
        """Prepare for an epoch (from 0)."""

    def forward(self, losses: Sequence[Tensor], weight: Tensor) -> Tensor:
        """Return what is minimised, a scalar.

        Parameters
        ----------
        losses : sequence of Tensor
            Of the tasks on this process's part of the batch, scalars.
        weight : Tensor, float32, [B]
            Of the rows of that part.
        """
        raise NotImplementedError

    def _of_all(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return means over this process's rows as those over the rows of all processes."""
        if self.ranks.size == 1:
            return values
        own = float(weight.sum())
        (total,) = self.ranks.total([own])
        part = values * (own / total if total > 0 else 0.0)
        return self.ranks.gather(part[None]).sum(0)


class Uncertainty(Balance):
    """Sum of L_t / (2 exp(s_t)) + s_t / 2 with learned s_t.

    References
    ----------
    Kendall et al., "Multi-task learning using uncertainty to weigh losses", CVPR 2018, with the
    logarithm of the variance as in LibMTL, which starts at -0.5.
    """

    def __init__(self, network: Network, tasks: int, options: dict[str, Any]) -> None:
        super().__init__(network, tasks, options)
        self.log_variance = nn.Parameter(torch.full((tasks,), -0.5))

    def forward(self, losses: Sequence[Tensor], weight: Tensor) -> Tensor:
        """See `Balance.forward`."""
        s = self.log_variance
        return (torch.stack(list(losses)) / (2 * s.exp()) + s / 2).sum()


def trunk_of(network: Network, weighting: str) -> list[nn.Parameter]:
    """Return what tasks share above the tables.

    Raises
    ------
    ValueError
        If the network has no such parameters, or is an ensemble.
    """
    found: list[nn.Parameter] = getattr(network, "trunk_parameters", list)()
    if not found:
        raise ValueError(
            f"weighting {weighting!r} compares the tasks' gradients of the trunk, and network "
            f"'{network.name}' has none that tasks share (members=1 of shared_bottom, mmoe or ple "
            "has): choose one of these, or the weighting 'given' or 'uncertainty'"
        )
    return found


def gradients(losses: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradient [T, N] of each loss by parameters, whose graph stays."""
    each = []
    for loss in losses:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        of_all = zip(parameters, found, strict=True)
        each.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in of_all])
        )
    return torch.stack(each)


def _free(value: Tensor) -> Tensor:
    """Return 0 with the gradient of a value."""
    return value - value.detach()


class GradNorm(Balance):
    """Sum of T softmax(v)_t L_t, whose v lets the norms of the trunk's gradients fall alike.

    A task that has lost less of its first loss than the others may have a longer gradient, by the
    power `alpha`. First losses are the means of the first epoch, in which all count alike.

    References
    ----------
    Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask
    networks", ICML 2018, with the softmax and the start of LibMTL.
    """

    def __init__(self, network: Network, tasks: int, options: dict[str, Any]) -> None:
        super().__init__(network, tasks, options)
        # In a tuple, they are not parameters of the loss too.
        self._trunk = tuple(trunk_of(network, "gradnorm"))
        self._alpha = options["alpha"]
        self.scale = nn.Parameter(torch.ones(tasks))
        self.register_buffer("first", torch.zeros(tasks))
        self.register_buffer("steps", torch.zeros(()))
        self._epoch = 0

    def before_epoch(self, epoch: int) -> None:
        """See `Balance.before_epoch`."""
        self._epoch = epoch

    def forward(self, losses: Sequence[Tensor], weight: Tensor) -> Tensor:
        """See `Balance.forward`."""
        each = torch.stack(list(losses))
        value = self._of_all(each.detach(), weight)
        first, steps = self.get_buffer("first"), self.get_buffer("steps")
        if self._epoch == 0:
            steps += 1
            first += (value - first) / steps
            return each.sum()
        scale = len(losses) * self.scale.softmax(0)
        norms = self._of_all(gradients(losses, self._trunk), weight).norm(dim=1)
        rate = value / first.clamp_min(torch.finfo(first.dtype).tiny)
        wanted = (scale.detach() * norms).mean() * (rate / rate.mean()) ** self._alpha
        balance = (scale * norms - wanted).abs().sum()
        return (scale.detach() * each).sum() + _free(balance)


class PCGrad(Balance):
    """Sum of the losses, whose gradients of the trunk lose what works against another task's.

    References
    ----------
    Yu et al., "Gradient surgery for multi-task learning", NeurIPS 2020, algorithm 1.
    """

    def __init__(self, network: Network, tasks: int, options: dict[str, Any]) -> None:
        super().__init__(network, tasks, options)
        self._trunk = tuple(trunk_of(network, "pcgrad"))
        self._seed = options["seed"]
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, losses: Sequence[Tensor], weight: Tensor) -> Tensor:
        """See `Balance.forward`."""
        steps = self.get_buffer("steps")
        steps += 1
        # By the step, so that a run that goes on from a checkpoint draws alike.
        draw = torch.Generator().manual_seed((self._seed + int(steps)) % 2**63)
        flat = self._of_all(gradients(losses, self._trunk), weight)
        change = without_conflicts(flat, draw) - flat.sum(0)
        parts = change.split([p.numel() for p in self._trunk])
        added = [(p * part.view_as(p)).sum() for p, part in zip(self._trunk, parts, strict=True)]
        # The plain sum brings the plain gradient; what is added changes it and no value.
        return torch.stack(list(losses)).sum() + _free(torch.stack(added).sum())


def without_conflicts(gradients: Tensor, draw: torch.Generator) -> Tensor:
    """Return the sum [N] of gradients [T, N], each first projected off those that it opposes."""
    total = torch.zeros_like(gradients[0])
    for task, own in enumerate(gradients):
        changed = own.clone()
        for other in torch.randperm(len(gradients), generator=draw).tolist():
            dot = changed @ gradients[other]
            if other != task and dot < 0:
                changed -= dot / gradients[other].square().sum() * gradients[other]
        total += changed
    return total


BALANCES: dict[str, type[Balance]] = {
    "uncertainty": Uncertainty,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
}

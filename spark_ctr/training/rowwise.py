"""Optimisers of embedding tables that take steps on the rows of a batch only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

BETA2 = 0.999
EPS = 1e-8


class RowwiseOptimizer:
    """Gradient steps, each row's divided by the size of that row's gradients.

    A step reads and writes the rows of the batch, whatever the table holds, and the state is two or
    three numbers a row. A row that is not looked up keeps its bits, and so does its state.

    The L2 penalty acts on every row at every step, looked up or not, as in an optimiser of dense
    gradients, but late: a row first shrinks by what it owes for the steps since it was last looked
    up. It stays out of the gradients, as in AdamW, and is divided by what they are divided by:
    w <- w exp(-learning_rate * l2 * steps / size), where the size is that of the gradients and of
    the penalty, sqrt(size^2 + mean((l2 w)^2)), so that no step is longer than the learning rate.

    Parameters
    ----------
    weights : mapping of str to Tensor, float, [rows, dim]
        Tables by name.
    l2 : float
        Factor of half the squared norm of a row.
    moved : callable, optional
        moved(name, rows, change) is told by how much the rows of a table moved [n, dim].

    Attributes
    ----------
    state : dict of str to dict of str to Tensor [rows, 1]
        Of the tables that took a step.
    steps : int
        Steps so far.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; Lipton and Elkan,
    "Efficient elastic net regularization for sparse linear models", 2015, for the late penalty.
    """

    rate: ClassVar[float]
    moments: ClassVar[Mapping[str, torch.dtype]]

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        l2: float = 0.0,
        moved: Callable[[str, Tensor, Tensor], None] | None = None,
    ) -> None:
        self._weights = dict(weights)
        self._l2 = l2
        self._moved = moved
        self.state: dict[str, dict[str, Tensor]] = {}
        self.steps = 0

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the state of a table that took no step yet."""
        return {
            name: torch.zeros(len(weight), 1, dtype=dtype, device=weight.device)
            for name, dtype in {**self.moments, "last_step": torch.int32}.items()
        }

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the rows that each table's coalesced sparse gradient names."""
        self.steps += 1
        rate = learning_rate * self.rate
        for name, weight in self._weights.items():
            if weight.grad is None:
                continue
            if name not in self.state:
                self.state[name] = self.initial_state(weight)
            rows, grad = weight.grad.indices()[0], weight.grad.values()
            state = {key: value.index_select(0, rows) for key, value in self.state[name].items()}
            size = self._size(state, grad.square().mean(1, keepdim=True))
            before = weight.index_select(0, rows)
            after = before if self._moved is None else before.clone()
            if self._l2:
                after.mul_(self._kept(before, size, state["last_step"], rate))
            after.addcdiv_(grad, size, value=-rate)
            state["last_step"].fill_(self.steps)
            for key, value in state.items():
                self.state[name][key].index_copy_(0, rows, value)
            weight.index_copy_(0, rows, after)
            if self._moved is not None:
                self._moved(name, rows, after.sub_(before))

    def _kept(self, rows: Tensor, size: Tensor, last_step: Tensor, rate: float) -> Tensor:
        """Return the share of rows [n, dim] that the penalty leaves [n, 1]."""
        own = rows.square().mean(1, keepdim=True).mul_(self._l2**2)
        both = own.addcmul_(size, size).sqrt_()
        return (self.steps - last_step).mul(-rate * self._l2).div_(both).exp_()

    def _size(self, state: dict[str, Tensor], square: Tensor) -> Tensor:
        """Update the state of some rows in place; return what divides their gradients [n, 1]."""
        raise NotImplementedError


class RowwiseAdam(RowwiseOptimizer):
    """Adam without momentum, and with one second moment and one clock a row.

    The bias correction counts the steps that the row took. torch.optim.SparseAdam counts those of
    the table, which makes the first steps of a row that is seen late more than three times as long,
    and rare rows overfit. Momentum would move a row by a gradient from long before, and with a
    second moment an element take 2 dim + 1 numbers a row instead of 2; SparseAdam, which has both,
    gained no more than 0.001 of AUC from them (docs/benchmarks/embedding_step.md).

    References
    ----------
    Kingma and Ba, "Adam", ICLR 2015, algorithm 1 with beta1 = 0, the squared gradient averaged over
    the row.
    """

    rate = 1.0
    moments: ClassVar = {"mean_square": torch.float32, "steps": torch.int32}

    def _size(self, state: dict[str, Tensor], square: Tensor) -> Tensor:
        steps = state["steps"].add_(1)
        mean_square = state["mean_square"].lerp_(square, 1 - BETA2)
        # expm1: 1 - beta^steps exactly, in float32 too, where the power is near 1.
        correction = torch.expm1(steps * math.log(BETA2)).neg_()
        return (mean_square / correction).sqrt_().add_(EPS)


class RowwiseAdagrad(RowwiseOptimizer):
    """Adagrad with one sum of squares a row, at ten times the learning rate.

    Its steps shrink for good as a row is seen again, so it takes longer ones to begin with.

    References
    ----------
    Duchi et al., "Adaptive subgradient methods", JMLR 2011; averaged over the row as in Naumov et
    al., "DLRM", 2019.
    """

    rate = 10.0
    moments: ClassVar = {"sum_of_squares": torch.float32}

    def _size(self, state: dict[str, Tensor], square: Tensor) -> Tensor:
        return state["sum_of_squares"].add_(square).sqrt().add_(EPS)


OPTIMIZERS: dict[str, type[RowwiseOptimizer]] = {"adam": RowwiseAdam, "adagrad": RowwiseAdagrad}

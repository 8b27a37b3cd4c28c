"""Optimisers of embedding tables that take steps on the rows of a batch only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

BETA2 = 0.999
EPS = 1e-8


class RowwiseOptimizer:
    """Gradient steps, each row's divided by the size of that row's gradients.

    A step reads and writes the rows of the batch, whatever the table holds, and the state is one or
    two numbers a row. A row that is not looked up keeps its bits, and so does its state.

    Parameters
    ----------
    weights : mapping of str to Tensor, float, [rows, dim]
        Tables by name.

    Attributes
    ----------
    state : dict of str to dict of str to Tensor [rows, 1]
        Of the tables that took a step.
    """

    rate: ClassVar[float]
    moments: ClassVar[Mapping[str, torch.dtype]]

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)
        self.state: dict[str, dict[str, Tensor]] = {}

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the state of a table that took no step yet."""
        return {
            name: torch.zeros(len(weight), 1, dtype=dtype, device=weight.device)
            for name, dtype in self.moments.items()
        }

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the rows that each table's coalesced sparse gradient names."""
        for name, weight in self._weights.items():
            if weight.grad is None:
                continue
            if name not in self.state:
                self.state[name] = self.initial_state(weight)
            rows, grad = weight.grad.indices()[0], weight.grad.values()
            state = {key: value.index_select(0, rows) for key, value in self.state[name].items()}
            size = self._size(state, grad.square().mean(1, keepdim=True))
            for key, value in state.items():
                self.state[name][key].index_copy_(0, rows, value)
            moved = weight.index_select(0, rows)
            moved.addcdiv_(grad, size, value=-learning_rate * self.rate)
            weight.index_copy_(0, rows, moved)

    def _size(self, state: dict[str, Tensor], square: Tensor) -> Tensor:
        """Update the state of some rows in place; return what divides their gradients [n, 1]."""
        raise NotImplementedError


class RowwiseAdam(RowwiseOptimizer):
    """Adam without momentum, and with one second moment and one clock a row.

    The bias correction counts the steps that the row took. torch.optim.SparseAdam counts those of
    the table, which makes the first steps of a row that is seen late more than three times as long,
    and rare rows overfit. Momentum would move a row by a gradient from long before, and with a
    second moment an element take 2 dim + 1 numbers a row instead of 2; SparseAdam, which has both,
    gained no more than 0.001 of AUC from them (benchmarks/README.md, embedding_step).

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

"""Adam that takes steps on the rows of a batch only."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class RowwiseAdam:
    """Adam for embedding tables, where each row is a parameter with a clock of its own.

    A step reads and writes the rows of the batch, whatever the table holds. A row that is not
    looked up keeps its bits: neither its weights nor its moments move, and the bias correction
    counts the steps that the row took. (torch.optim.SparseAdam counts the steps of the table, so
    that a row's first steps, taken late, are up to six times as long as Adam's.)

    Parameters
    ----------
    weights : mapping of str to Tensor [rows, dim]
        Tables by name. The state, allocated at the first step, is twice as large, and one number
        a row.

    References
    ----------
    Kingma and Ba, "Adam", ICLR 2015, algorithm 1, applied to the rows looked up.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)
        self.state: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the rows that each table's coalesced sparse gradient names."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                if name not in self.state:
                    self.state[name] = initial_state(weight)
                grad = weight.grad
                _update(weight, grad.indices()[0], grad.values(), self.state[name], learning_rate)


def initial_state(weight: Tensor) -> dict[str, Tensor]:
    """Moments [rows, dim] and steps [rows, 1] of rows that took no step yet."""
    return {
        "exp_avg": torch.zeros_like(weight),
        "exp_avg_sq": torch.zeros_like(weight),
        "steps": torch.zeros(len(weight), 1, dtype=torch.int32, device=weight.device),
    }


def _update(
    weight: Tensor, rows: Tensor, grad: Tensor, state: dict[str, Tensor], learning_rate: float
) -> None:
    beta1, beta2 = BETAS
    mean = state["exp_avg"].index_select(0, rows).lerp_(grad, 1 - beta1)
    square = state["exp_avg_sq"].index_select(0, rows).lerp_(grad.square(), 1 - beta2)
    steps = state["steps"].index_select(0, rows).add_(1)
    state["exp_avg"].index_copy_(0, rows, mean)
    state["exp_avg_sq"].index_copy_(0, rows, square)
    state["steps"].index_copy_(0, rows, steps)
    size = learning_rate / _correction(beta1, steps)
    scale = square.sqrt_().div_(_correction(beta2, steps).sqrt_()).add_(EPS)
    moved = weight.index_select(0, rows).sub_(mean.mul_(size).div_(scale))
    weight.index_copy_(0, rows, moved)


def _correction(beta: float, steps: Tensor) -> Tensor:
    """Return 1 - beta^steps, exact in float32 too where the power is near 1."""
    return torch.expm1(steps * math.log(beta)).neg_()

"""Mixtures of experts: one for each task, over experts of all and of some."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Mean of experts with weights softmax(W x), of each row its own.

    Parameters
    ----------
    width : int
        Width of x.
    experts : int

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", KDD 2018, equations 6 and 7.
    """

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, experts, bias=False)
        # Experts that all count alike at first all learn.
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor, experts: Sequence[Tensor]) -> Tensor:
        """Mix experts, each [B, H], by x [B, width]; returns [B, H]."""
        weights = self.linear(x).softmax(1).unsqueeze(1)
        together = torch.stack(list(experts), 1)
        return (weights.to(together.dtype) @ together).flatten(1)

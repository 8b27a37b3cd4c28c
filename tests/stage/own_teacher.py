"""A module of a user's own that labels rows, named by import path in Spark's workers."""

from __future__ import annotations

import torch
from torch import nn

from spark_ctr.networks import Inputs


class SumNetwork(nn.Module):
    """Logits that are a weighted sum of numbers and ids, scaled by a setting."""

    def __init__(self, inputs: Inputs, config: dict) -> None:
        super().__init__()
        self.scale = config["scale"]
        self.weight = nn.Parameter(torch.ones(len(inputs.numeric)))

    def forward(self, ids: torch.Tensor, numeric: torch.Tensor) -> torch.Tensor:
        """Compute logits [B]."""
        return self.scale * (numeric @ self.weight + ids.float().sum(1))

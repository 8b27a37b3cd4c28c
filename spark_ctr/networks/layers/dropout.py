"""Dropout that draws from a generator of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Dropout whose draws are those of one training, see `random_draws.RandomDraws.dropout_of`.

    Attributes
    ----------
    generators : mapping of str to Generator
        By kind of device; without one torch's global generator is drawn from.
    """

    generators: Mapping[str, torch.Generator] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Leave out a share p of x in training, and scale the rest by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x
        scaled = dropped(x, self.p, self.generators.get(x.device.type))
        return x.copy_(scaled) if self.inplace else scaled


def dropped(x: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Return x with a share p of its elements 0 and the others scaled by 1 / (1 - p)."""
    if p == 1:
        return x * 0.0
    kept = torch.empty_like(x, memory_format=torch.contiguous_format)
    return x * kept.bernoulli_(1 - p, generator=generator).div_(1 - p)

"""Indices of 4 bits for rows of 8-bit tables: ``value = (2 * nibble - 15) * factor * scale``.

Each row has a factor of its own. What is multiplied by the scale is an index of 8 bits, so that
such a row is like the table's others once it is unpacked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spark_ctr.kernels.index4 import MOST_FACTOR, MOST_NIBBLE

_CHUNK = 1 << 16  # rows


def index4_factor(weight: Tensor, scale: Tensor) -> Tensor:
    """Return for each row the factor whose nibbles have the least squared error.

    Parameters
    ----------
    weight : Tensor [rows, D], float32
        Rows to quantise.
    scale : Tensor, float32, []
        Of the table, from `spark_ctr.precision.index8.index8_scale`.

    Returns
    -------
    Tensor [rows], uint8
        In [1, 8]; of equal ones the smallest.
    """
    parts = weight.detach().split(_CHUNK)  # what is tried has the size of a part
    return torch.cat([_best_factor(part, scale) for part in parts])


def _best_factor(weight: Tensor, scale: Tensor) -> Tensor:
    found = torch.ones(len(weight), dtype=torch.uint8, device=weight.device)
    least = torch.full((len(weight),), torch.inf, device=weight.device)
    for factor in range(1, MOST_FACTOR + 1):
        error = (_values(weight, scale, torch.tensor(factor)) - weight).square().sum(1)
        found[error < least] = factor
        least = torch.minimum(error, least)
    return found


def index4_quantise(weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
    """Return the nibbles of `weight`, uint8 of the same shape; see the next."""
    return _nibbles(weight, scale * factor).to(torch.uint8)


def index4_fake_quantise(weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
    """Quantise and dequantise with the gradient of the identity (straight-through estimator).

    Parameters
    ----------
    weight : Tensor, float32
    scale, factor : Tensor
        Anything that broadcasts; values beyond 15 times both are clipped.
    """
    return _FakeQuantise.apply(weight, scale, factor)


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
        return _values(weight, scale, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


def _values(weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
    # A whole number times the scale: the bits of the packed row.
    return (2 * _nibbles(weight, scale * factor) - MOST_NIBBLE) * factor * scale


def _nibbles(weight: Tensor, half_step: Tensor) -> Tensor:
    half_step = torch.where(half_step > 0, half_step, torch.ones_like(half_step))
    return torch.round((weight.detach() / half_step + MOST_NIBBLE) / 2).clamp(0, MOST_NIBBLE)

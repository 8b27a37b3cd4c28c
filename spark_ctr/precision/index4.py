"""Indices of 4 bits for rows of 8-bit tables: ``value = index * factor * scale``.

An index times its factor is an index of 8 bits, so that such a row is like the table's others once
it is unpacked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spark_ctr.kernels.index4 import HIGHEST, LOWEST, MOST_FACTOR


def index4_factor(weight: Tensor, scale: Tensor) -> int:
    """Return the factor in [1, 15] whose indices have the least squared error.

    Parameters
    ----------
    weight : Tensor, float32
        Rows to quantise.
    scale : Tensor, float32, []
        Of the table, from `spark_ctr.precision.index8.index8_scale`.
    """
    weight = weight.detach()
    factors = range(1, MOST_FACTOR + 1)
    errors = [float((_values(weight, scale, f) - weight).square().sum()) for f in factors]
    return 1 + errors.index(min(errors))


def index4_quantise(weight: Tensor, scale: Tensor, factor: int) -> Tensor:
    """Return the indices of `weight`, int8 of the same shape, in [-8, 7]."""
    return _indices(weight, scale * factor).to(torch.int8)


def index4_fake_quantise(weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
    """Quantise and dequantise with the gradient of the identity (straight-through estimator).

    Parameters
    ----------
    weight : Tensor, float32
    scale, factor : Tensor
        Anything that broadcasts; values beyond the indices are clipped.
    """
    return _FakeQuantise.apply(weight, scale, factor)


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
        return _values(weight, scale, factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


def _values(weight: Tensor, scale: Tensor, factor: Tensor | int) -> Tensor:
    # A whole number times the scale: the bits of the packed row.
    return _indices(weight, scale * factor) * factor * scale


def _indices(weight: Tensor, step: Tensor) -> Tensor:
    step = torch.where(step > 0, step, torch.ones_like(step))
    return torch.round(weight.detach() / step).clamp(LOWEST, HIGHEST)

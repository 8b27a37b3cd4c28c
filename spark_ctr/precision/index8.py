"""8-bit indices after SensiMix: ``index = round((w - min) * 255 / (max - min)) - 128``.

Piao et al., "SensiMix: Sensitivity-aware 8-bit index & 1-bit value mixed precision quantization
for BERT compression", PLOS ONE 2022. One minimum and maximum for a tensor; for embedding tables,
one for each categorical column.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEVELS = 255


def index8_range(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the affine map of a tensor, ``value = (index + 128) * scale + minimum``.

    Parameters
    ----------
    weight : Tensor, float32
        The values to quantise; not empty.

    Returns
    -------
    scale, minimum : scalar Tensor, float32
        ``(max - min) / 255`` and ``min``; the scale of a constant tensor is 0.

    Raises
    ------
    ValueError
        If a value is not finite or the range overflows float32.
    """
    minimum, maximum = torch.aminmax(weight.detach())
    scale = maximum / LEVELS - minimum / LEVELS
    if not torch.isfinite(scale):
        raise ValueError(
            f"cannot quantise values in [{minimum}, {maximum}] to 8 bits: they must be finite; "
            "lower the learning rate or clip the gradient of the training before"
        )
    return scale, minimum


def index8_quantise(weight: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """Return the indices of `weight`, int8 of the same shape, in [-128, 127]."""
    return (_levels(weight, scale, minimum) - 128).to(torch.int8)


def index8_dequantise(index: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """Return the float32 values of indices, by the same arithmetic as the packed kernels."""
    return index.to(torch.float32) * scale + (minimum + 128 * scale)


def index8_fake_quantise(weight: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """Quantise and dequantise with the gradient of the identity (straight-through estimator).

    Parameters
    ----------
    weight : Tensor, float32
        The FP32 master values, or some rows of them.
    scale, minimum : scalar Tensor, float32
        From `index8_range` of the whole tensor.

    Returns
    -------
    Tensor, float32
        Values at most half a step, ``(max - min) / 510``, and float32 rounding from `weight`.
    """
    return _FakeQuantise.apply(weight, scale, minimum)


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
        return index8_dequantise(_levels(weight, scale, minimum) - 128, scale, minimum)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


def _levels(weight: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """Return the level of each value, a whole number in [0, 255]; 0 for a constant tensor."""
    step = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.round((weight.detach() - minimum) / step).clamp(0, LEVELS)

"""8-bit indices: ``value = index * scale`` with indices in [-127, 127].

SensiMix (Piao et al., "SensiMix: Sensitivity-aware 8-bit index & 1-bit value mixed precision
quantization for BERT compression", PLOS ONE 2022) spreads 256 indices between minimum and maximum.
Here 0 is an index, so that a negated row is an index too and sums of whole numbers need no
correction; weights lie around 0 anyway. One scale for a table, and one for each output of a layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEVELS = 127


def index8_scale(weight: Tensor, *, by_output: bool = False) -> Tensor:
    """Return the value of one index, ``max(|weight|) / 127``.

    Parameters
    ----------
    weight : Tensor, float32
        The values to quantise; not empty.
    by_output : bool
        Whether each row of a matrix [N, K] has a scale of its own.

    Returns
    -------
    Tensor, float32, [] or [N, 1]
        Of zeros alone it is 0.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    size = weight.detach().abs()
    scale = (size.amax(1, keepdim=True) if by_output else size.max()) / LEVELS
    if not torch.isfinite(scale).all():
        raise ValueError(
            "cannot quantise values that are not finite to 8 bits; lower the learning rate or clip "
            "the gradient of the training before"
        )
    return scale


def index8_quantise(weight: Tensor, scale: Tensor) -> Tensor:
    """Return the indices of `weight`, int8 of the same shape, in [-127, 127]."""
    return _indices(weight, scale).to(torch.int8)


def index8_fake_quantise(weight: Tensor, scale: Tensor) -> Tensor:
    """Quantise and dequantise with the gradient of the identity (straight-through estimator).

    Parameters
    ----------
    weight : Tensor, float32
        The FP32 master values, or some rows of them.
    scale : Tensor, float32
        From `index8_scale`, or any that broadcasts; values beyond 127 of it are clipped.

    Returns
    -------
    Tensor, float32
        Values at most half a scale, and float32 rounding, from what was not clipped.
    """
    return _FakeQuantise.apply(weight, scale)


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor) -> Tensor:
        return _indices(weight, scale) * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _indices(weight: Tensor, scale: Tensor) -> Tensor:
    """Return the index of each value as float32; 0 where the scale is 0."""
    step = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.round(weight.detach() / step).clamp(-LEVELS, LEVELS)

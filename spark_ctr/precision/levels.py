"""Inputs of linear layers as levels of 8 bits, with steps fitted to some rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# The level of 0 where inputs have both signs; where none is below 0 it is level 0.
MIDDLE = 128
# Steps beyond have no inverse in float32 that is above 0 and finite.
_STEPS = (1e-37, 1e37)


class Levels(nn.Module):
    """Rounds each input to a multiple of its step: ``(level - zero) / inverse``.

    ``level = clamp(round(x * inverse) + zero, 0, 255)``, as packed programs compute it. The
    gradient passes where nothing was clipped.

    Parameters
    ----------
    inputs : int
        Number of inputs K.

    Attributes
    ----------
    inverse : Tensor, float32, [K]
        Levels for a difference of 1 of each input; 1 until `fit`.
    zero : Tensor, int64, []
        The level of 0: 0 or `MIDDLE`.
    """

    inverse: Tensor
    zero: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.ones(inputs))
        self.register_buffer("zero", torch.tensor(MIDDLE))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded inputs, float32 [..., K]."""
        return _Rounded.apply(x, self.inverse, self.zero)

    @property
    def step(self) -> Tensor:
        """The difference of two levels of each input, float32 [K]."""
        return 1 / self.inverse

    @torch.no_grad()
    def fit(self, x: Tensor, known: Tensor | None = None) -> None:
        """Choose the steps so that no input of these rows is clipped.

        Parameters
        ----------
        x : Tensor, float32, [B, K]
        known : Tensor, float32, [at most K], optional
            Steps of the first inputs, where they are above 0: of what has 8 bits already.
        """
        known = x.new_zeros(0) if known is None else known
        signed = bool((x < 0).any()) or bool((known > 0).any())
        self.zero.fill_(MIDDLE if signed else 0)
        step = x.abs().amax(0) / (255 - MIDDLE if signed else 255)
        # An input that is always 0 here may be something elsewhere.
        step = torch.where(step > 0, step, step.max() if step.max() > 0 else torch.ones(()))
        step[: len(known)] = torch.where(known > 0, known, step[: len(known)])
        self.inverse.copy_(1 / step.clamp(*_STEPS))


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inverse: Tensor, zero: Tensor) -> Tensor:
        level = torch.round(x * inverse) + zero
        ctx.save_for_backward((level >= 0) & (level <= 255))
        return (level.clamp(0, 255) - zero) / inverse

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None

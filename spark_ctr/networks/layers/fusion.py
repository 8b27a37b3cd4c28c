"""Bilinear fusion of two streams."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class BilinearFusion(nn.Module):
    """Logit of two streams x and y: b + w_x x + w_y y + sum_h x_h W_h y_h over heads h.

    Head h sees the h-th part of x and of y.

    Parameters
    ----------
    x_width, y_width : int
    heads : int
        1 lets every unit of x meet every unit of y.

    Raises
    ------
    ValueError
        If the heads do not divide both widths.

    References
    ----------
    Mao et al., "FinalMLP", AAAI 2023, equations 6 to 8.
    """

    def __init__(self, x_width: int, y_width: int, heads: int) -> None:
        super().__init__()
        if x_width % heads or y_width % heads:
            raise ValueError(
                f"heads must divide the last widths of both streams, {x_width} and {y_width}, "
                f"got heads {heads}"
            )
        self.heads = heads
        self.x = nn.Linear(x_width, 1)
        self.y = nn.Linear(y_width, 1, bias=False)
        self.weight = nn.Parameter(torch.empty(heads, x_width // heads, y_width // heads))
        # Of the size of a linear term: by Xavier's rule, which is for maps, the logits of
        # normalised streams 400 and 100 wide start at a standard deviation of 6.
        nn.init.normal_(self.weight, std=math.sqrt(heads / (3 * x_width * y_width)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fuse x [B, x_width] and y [B, y_width] into logits [B, 1]."""
        mapped = torch.einsum("bhi,hij->bhj", x.unflatten(1, (self.heads, -1)), self.weight)
        return self.x(x) + self.y(y) + (mapped.flatten(1) * y).sum(1, keepdim=True)

"""The part of a network that each task has for itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.factors import FactorsSize
from spark_ctr.networks.layers.mlp import MLP


class Towers(nn.Module):
    """A perceptron and a logit for each task, with a bias each.

    Parameters
    ----------
    widths : sequence of int
        Width of each task's input.
    tower_layers : sequence of int
        Widths of each perceptron; may be empty.
    dropout : float
    norm : {"batch", "layer", None}
    gates : FactorsSize, optional
        Of gates of the hidden layers, see `MLP`.

    Attributes
    ----------
    bias : Parameter [T]
    """

    def __init__(
        self,
        widths: Sequence[int],
        tower_layers: Sequence[int],
        dropout: float,
        norm: str | None,
        gates: FactorsSize | None = None,
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleList(
            MLP(width, tower_layers, dropout, norm, "tower", gates) for width in widths
        )
        ends = [tower_layers[-1] if tower_layers else width for width in widths]
        self.outputs = nn.ModuleList(nn.Linear(width, 1, bias=False) for width in ends)
        self.bias = nn.Parameter(torch.zeros(len(widths)))

    def forward(self, xs: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Map each task's x [B, width], and the context of the gates, to logits [B, T]."""
        logits = [
            output(tower(x, context)[0])
            for tower, output, x in zip(self.towers, self.outputs, xs, strict=True)
        ]
        return torch.cat(logits, 1) + self.bias

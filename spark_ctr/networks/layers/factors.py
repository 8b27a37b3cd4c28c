"""Factors for units that a context decides, 1 at the start."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Factors(nn.Module):
    """W_2 ReLU(W_1 c), of a context c: in (0, 2) by 2 sigmoid(.), or free.

    W_2 starts at 0, so that all factors are 1 and training decides what departs from it.

    Parameters
    ----------
    n_in, units, n_out : int
        Width of the context, of the layer in between, and number of factors.
    bounded : bool
        Whether 2 sigmoid(.) bounds them.

    References
    ----------
    Chang et al., "PEPNet", KDD 2023 (Gate NU, bounded); Wang et al., "MaskNet", DLP-KDD 2021
    (instance-guided mask, free).
    """

    def __init__(self, n_in: int, units: int, n_out: int, bounded: bool = True) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(n_in, units), nn.Linear(units, n_out)
        self.bounded = bounded
        nn.init.zeros_(self.excite.weight)
        nn.init.constant_(self.excite.bias, 0.0 if bounded else 1.0)

    def forward(self, context: Tensor) -> Tensor:
        """Map context [B, n_in] to factors [B, n_out]."""
        free = self.excite(F.relu(self.squeeze(context)))
        return 2 * torch.sigmoid(free) if self.bounded else free


class FactorsSize(NamedTuple):
    """Width of the context, and of the layer in between, of the `Factors` of hidden layers."""

    n_in: int
    units: int

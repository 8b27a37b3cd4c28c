"""Factors for units that a context decides, 1 at the start."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Factors(nn.Module):
    """1 + W_2 ReLU(W_1 c), of a context c: within [0, 2], or free.

    W_2 starts at 0, so that all factors are 1 and training decides what departs from it. Published
    gates are 2 sigmoid(.), which has the same bounds, start and slope within a factor of 2; this
    one packed programs compute natively (as MobileNetV3 takes a hard sigmoid in its gates).

    Parameters
    ----------
    n_in, units, n_out : int
        Width of the context, of the layer in between, and number of factors.
    bounded : bool
        Whether they are clamped.

    References
    ----------
    Chang et al., "PEPNet", KDD 2023 (Gate NU, bounded); Wang et al., "MaskNet", DLP-KDD 2021
    (instance-guided mask, free); Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """

    def __init__(self, n_in: int, units: int, n_out: int, bounded: bool = True) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(n_in, units), nn.Linear(units, n_out)
        self.bounded = bounded
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, context: Tensor) -> Tensor:
        """Map context [B, n_in] to factors [B, n_out]."""
        change = self.excite(F.relu(self.squeeze(context)))
        return F.relu(2 - F.relu(1 - change)) if self.bounded else 1 + change


class FactorsSize(NamedTuple):
    """Width of the context, and of the layer in between, of the `Factors` of hidden layers."""

    n_in: int
    units: int

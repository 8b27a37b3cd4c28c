"""Numeric columns as fields beside the embedded ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import INITIAL_STD
from spark_ctr.tables import Inputs

# Of a network without a categorical column, whose tables would say: the usual width of BARS.
NUMERIC_ONLY_DIM = 10


def common_dim(inputs: Inputs) -> int:
    """Dimension k of all fields: that of the widest table."""
    return max((table.dim for table in inputs.tables), default=NUMERIC_ONLY_DIM)


class NumericFields(nn.Module):
    """Field x_m v_m of each numeric column m, with a learned vector v_m.

    Parameters
    ----------
    n_numeric : int
        Number of columns M; may be 0.
    dim : int
        Width k of a field.

    References
    ----------
    Song et al., "AutoInt", CIKM 2019, equation 4; Rendle, "Factorization Machines", ICDM 2010,
    equation 1, where x_m is any real number.
    """

    def __init__(self, n_numeric: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_numeric, dim))
        nn.init.normal_(self.weight, std=INITIAL_STD)

    def forward(self, numeric: Tensor) -> Tensor:
        """Map numeric [B, M] to [B, M, k]."""
        return numeric.unsqueeze(2) * self.weight

"""Linear term: one weight per id, one per numeric column, and a bias."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.tables import Inputs


def scalar_tables(inputs: Inputs) -> EmbeddingTables:
    """Build tables of dimension 1: one weight per id."""
    tables = tuple(replace(table, dim=1) for table in inputs.tables)
    return EmbeddingTables(Inputs(tables, inputs.numeric))


class NumericTerm(nn.Module):
    """One weight per numeric column, if any, and a bias; all start at 0."""

    def __init__(self, n_numeric: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_numeric, 1, bias=False) if n_numeric else None
        if self.linear is not None:
            # Random weights of inputs around 1 would drown the log-odds that networks start at.
            nn.init.zeros_(self.linear.weight)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, numeric: Tensor) -> Tensor:
        """Map numeric [B, M] to [B, 1]."""
        if self.linear is None:
            return self.bias.expand(numeric.shape[0], 1)
        return self.linear(numeric) + self.bias

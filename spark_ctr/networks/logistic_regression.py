"""Logistic regression over one-hot categorical and numeric columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.embedding import EmbeddingTables
from spark_ctr.networks.inputs import Inputs
from spark_ctr.networks.network import Network


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
        """Map numeric [B, M] to [B]."""
        if self.linear is None:
            return self.bias.expand(numeric.shape[0])
        return self.linear(numeric).squeeze(1) + self.bias


class LogisticRegression(Network):
    """Sum of one weight per id, one per numeric column, and a bias.

    Tables have dimension 1 whatever `inputs` says. There are no hidden layers.
    """

    name = "lr"
    logit_bias = "numeric.bias"
    logit_parts = ("embedding.", "numeric.")

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = scalar_tables(inputs)
        self.numeric = NumericTerm(len(inputs.numeric))

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.embedding(ids).sum(1) + self.numeric(numeric), {}

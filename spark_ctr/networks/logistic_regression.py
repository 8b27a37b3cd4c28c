"""Logistic regression over one-hot categorical and numeric columns."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spark_ctr.networks.layers.linear_term import NumericTerm, scalar_tables
from spark_ctr.networks.network import Network
from spark_ctr.tables import Inputs


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
        return self.embedding(ids).sum(1, keepdim=True) + self.numeric(numeric), {}

"""Factorisation machine: a linear term and all pairs of fields."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.field_pairs import factorization_machine
from spark_ctr.networks.layers.linear_term import NumericTerm, scalar_tables
from spark_ctr.networks.layers.numeric_fields import NumericFields, common_dim
from spark_ctr.networks.network import Network
from spark_ctr.settings import Setting
from spark_ctr.tables import Inputs


class FactorizationMachine(Network):
    """Linear term plus the inner products of all pairs of fields.

    Works at the widest table's dimension; narrower tables are projected. Numeric columns enter
    both parts, as the real-valued inputs that they are. There are no hidden layers.

    Attributes
    ----------
    first_order : EmbeddingTables
        The linear term's weight per id (dimension 1), besides `embedding`.

    References
    ----------
    Rendle, "Factorization Machines", ICDM 2010, equation 1.
    """

    name = "fm"
    logit_bias = "numeric.bias"
    settings: ClassVar[dict[str, Setting]] = context_settings(hidden_layers=False)

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        dim = common_dim(inputs)
        self.embedding = EmbeddingTables(inputs, dim)
        self.context = row_context(inputs, config)
        self.numeric_fields = NumericFields(len(inputs.numeric), dim)
        self.first_order = scalar_tables(inputs)
        self.numeric = NumericTerm(len(inputs.numeric))

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        linear = self.first_order(ids).sum(1, keepdim=True) + self.numeric(numeric)
        embedded, numeric, _ = self._enhanced(ids, numeric)
        fields = torch.cat([self.embedding.project(embedded), self.numeric_fields(numeric)], 1)
        return linear + factorization_machine(fields), {}

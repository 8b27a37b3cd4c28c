"""DeepFM: factorisation machine and multilayer perceptron on shared embeddings."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.field_pairs import factorization_machine
from spark_ctr.networks.layers.linear_term import NumericTerm, scalar_tables
from spark_ctr.networks.layers.numeric_fields import common_dim
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting
from spark_ctr.tables import Inputs


class DeepFM(Network):
    """Sum of a linear term, a factorisation machine and a perceptron.

    The factorisation machine works at the widest table's dimension; narrower tables are projected.
    Numeric columns enter the linear term and the perceptron.

    Attributes
    ----------
    first_order : EmbeddingTables
        The linear term's weight per id (dimension 1), besides `embedding`.

    References
    ----------
    Guo et al., "DeepFM", IJCAI 2017, equations 1 to 4.
    """

    name = "deepfm"
    logit_bias = "numeric.bias"
    settings: ClassVar[dict[str, Setting]] = {
        **perceptron([400, 400], dropout=0.2, batch_norm=True),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs, common_dim(inputs))
        self.context = row_context(inputs, config)
        self.first_order = scalar_tables(inputs)
        self.numeric = NumericTerm(len(inputs.numeric))
        self.mlp = self._perceptron(inputs.width)
        self.output = nn.Linear(self.mlp.width, 1, bias=False)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        linear = self.first_order(ids).sum(1, keepdim=True) + self.numeric(numeric)
        embedded, numeric, context = self._enhanced(ids, numeric)
        pairs = factorization_machine(self.embedding.project(embedded))
        deep, hidden = self.mlp(torch.cat([embedded, numeric], 1), context)
        return linear + pairs + self.output(deep), hidden

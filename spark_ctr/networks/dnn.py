"""Embeddings and a multilayer perceptron."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting
from spark_ctr.tables import Inputs


class DNN(Network):
    """Multilayer perceptron over embedded and numeric columns side by side."""

    name = "dnn"
    logit_parts = ("output.",)
    settings: ClassVar[dict[str, Setting]] = {
        **perceptron([400, 400], dropout=0.2, batch_norm=True),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.context = row_context(inputs, config)
        self.mlp = self._perceptron(inputs.width)
        self.output = nn.Linear(self.mlp.width, 1)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedded, numeric, context = self._enhanced(ids, numeric)
        output, hidden = self.mlp(torch.cat([embedded, numeric], 1), context)
        return self.output(output), hidden

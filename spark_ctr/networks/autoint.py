"""AutoInt+: self-attention between fields and a multilayer perceptron in parallel."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.attention import FieldAttention
from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.numeric_fields import NumericFields, common_dim
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting, flag, integer
from spark_ctr.tables import Inputs


class AutoInt(Network):
    """Attention layers over the fields beside a perceptron, concatenated before the output.

    Attention works at the widest table's dimension; narrower tables are projected. A numeric
    column is a field of its own for the attention and a unit of the perceptron's input.
    `hidden` returns the attention layers, "attention_0", ... [B, fields * attention_dim], then
    the perceptron's. Without hidden layers this is AutoInt without the plus.

    References
    ----------
    Song et al., "AutoInt", CIKM 2019; 3 layers of 2 heads of width 32 are its setting. Layer
    normalisation is that of BARS on Frappe_x1, which takes 5 layers of 4 heads, 128 wide.
    """

    name = "autoint"
    logit_parts = ("output.",)
    settings: ClassVar[dict[str, Setting]] = {
        # Of BARS on Frappe_x1; 0.9867 of AUC there in `benchmarks.model_zoo`.
        **perceptron([400, 400, 400], dropout=0.1, batch_norm=True),
        "attention_layers": integer(3, at_least=1, doc="layers of attention"),
        "attention_dim": integer(64, at_least=1, doc="width of all heads together"),
        "heads": integer(2, at_least=1, doc="heads of a layer"),
        "attention_norm": flag(True, doc="layer normalisation of the attention layers"),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        dim, width = common_dim(inputs), config["attention_dim"]
        self.embedding = EmbeddingTables(inputs, dim)
        self.context = row_context(inputs, config)
        self.numeric_fields = NumericFields(len(inputs.numeric), dim)
        self.attention = nn.ModuleList(
            FieldAttention(
                width if layer else dim,
                width,
                config["heads"],
                config["dropout"],
                config["attention_norm"],
            )
            for layer in range(config["attention_layers"])
        )
        self.mlp = self._perceptron(inputs.width)
        fields = len(inputs.tables) + len(inputs.numeric)
        # Without hidden layers the perceptron would only repeat the input.
        deep_width = self.mlp.width if config["hidden_layers"] else 0
        self.output = nn.Linear(fields * width + deep_width, 1)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedded, numeric, context = self._enhanced(ids, numeric)
        fields = torch.cat([self.embedding.project(embedded), self.numeric_fields(numeric)], 1)
        attended: dict[str, Tensor] = {}
        for i, layer in enumerate(self.attention):
            fields = layer(fields)
            attended[f"attention_{i}"] = fields.flatten(1)
        deep, hidden = self.mlp(torch.cat([embedded, numeric], 1), context)
        both = torch.cat([fields.flatten(1), deep], 1) if hidden else fields.flatten(1)
        return self.output(both), {**attended, **hidden}

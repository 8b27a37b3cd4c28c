"""FinalMLP: two gated multilayer perceptrons and their bilinear fusion."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.fusion import BilinearFusion
from spark_ctr.networks.layers.gate import FeatureGate
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting, columns, integer, widths
from spark_ctr.tables import Inputs


class FinalMLP(Network):
    """Two perceptrons over differently gated embedded and numeric columns, fused bilinearly.

    The first stream has the layers "hidden_0", ..., the widths `hidden_layers`, and is the one
    that distillation follows; the second has "second_0", ... and `second_layers`. Numeric columns
    are units of both streams' input, gated like the others.

    References
    ----------
    Mao et al., "FinalMLP", AAAI 2023. BARS on Frappe_x1 takes one layer of 400 for the first
    stream, gates the streams by "user" and by "item" and fuses with 5 heads.
    """

    name = "finalmlp"
    logit_bias = "fusion.x.bias"
    logit_parts = ("fusion.",)
    settings: ClassVar[dict[str, Setting]] = {
        # On Adult ahead of BARS's [400] with a dropout of 0.4, see docs/benchmarks/model_zoo.md.
        **perceptron([400, 400], dropout=0.2, batch_norm=True),
        "second_layers": widths([100], doc="widths of the second stream's layers"),
        "heads": integer(1, at_least=1, doc="heads of the fusion"),
        "gate_layers": widths([400], doc="widths of the hidden layers of the gates"),
        "first_context": columns(doc="columns that gate the first stream; none: learned weights"),
        "second_context": columns(doc="columns that gate the second stream"),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.context = row_context(inputs, config)
        self.first_gate = FeatureGate(inputs, config["first_context"], config["gate_layers"])
        self.second_gate = FeatureGate(inputs, config["second_context"], config["gate_layers"])
        self.mlp = self._perceptron(inputs.width)
        self.second_mlp = self._perceptron(inputs.width, config["second_layers"], "second")
        self.fusion = BilinearFusion(self.mlp.width, self.second_mlp.width, config["heads"])

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedded, numeric, context = self._enhanced(ids, numeric)
        x = torch.cat([embedded, numeric], 1)
        first, hidden = self.mlp(self.first_gate(ids, x), context)
        second, others = self.second_mlp(self.second_gate(ids, x), context)
        return self.fusion(first, second), {**hidden, **others}

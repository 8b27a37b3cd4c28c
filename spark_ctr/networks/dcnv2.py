"""DCN-V2: cross network and multilayer perceptron in parallel."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.cross import CrossNetwork
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting, integer
from spark_ctr.tables import Inputs


class DCNv2(Network):
    """Cross network and perceptron over the same input, concatenated before the output.

    `hidden` also returns the outputs of the cross layers, "cross_0", "cross_1", ... With a
    `cross_rank` above 0 a cross layer is a mixture of `cross_experts` experts of that rank, which
    is smaller than the full matrix where 2 * rank * experts is less than the input's width.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021, figure 1b (parallel structure), equations 1 and 3 to 5.
    """

    name = "dcnv2"
    logit_parts = ("output.",)
    settings: ClassVar[dict[str, Setting]] = {
        **perceptron([400, 400], dropout=0.2, batch_norm=True),
        "cross_layers": integer(3, at_least=0, at_most=64, doc="cross layers of dcnv2"),
        "cross_rank": integer(0, at_least=0, doc="rank of the cross matrices; 0: full ones"),
        "cross_experts": integer(4, at_least=1, doc="experts of a cross layer of that rank"),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.context = row_context(inputs, config)
        self.cross = CrossNetwork(
            inputs.width, config["cross_layers"], config["cross_rank"], config["cross_experts"]
        )
        self.mlp = self._perceptron(inputs.width)
        # Without hidden layers the perceptron would only repeat the input.
        deep_width = self.mlp.width if config["hidden_layers"] else 0
        self.output = nn.Linear(inputs.width + deep_width, 1)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedded, numeric, context = self._enhanced(ids, numeric)
        x0 = torch.cat([embedded, numeric], 1)
        crossed, crosses = self.cross(x0)
        deep, hidden = self.mlp(x0, context)
        # In autocast the output layer would round to deep's dtype anyway.
        both = torch.cat([crossed.to(deep.dtype), deep], 1) if hidden else crossed
        return self.output(both), {**hidden, **crosses}

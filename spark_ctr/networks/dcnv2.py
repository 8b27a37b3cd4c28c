"""DCN-V2: cross network and multilayer perceptron in parallel."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.cross import CrossNetwork
from spark_ctr.networks.embedding import EmbeddingTables
from spark_ctr.networks.inputs import Inputs
from spark_ctr.networks.mlp import MLP
from spark_ctr.networks.network import Network


class DCNv2(Network):
    """Cross network and perceptron over the same input, concatenated before the output.

    `hidden` also returns the outputs of the cross layers, "cross_0", "cross_1", ...

    References
    ----------
    Wang et al., "DCN V2", WWW 2021, figure 1b (parallel structure).
    """

    name: ClassVar[str] = "dcnv2"
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_layers": [256, 128, 64],
        "cross_layers": 2,
        "dropout": 0.1,
        "batch_norm": False,
        "layer_norm": False,
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.cross = CrossNetwork(inputs.width, config["cross_layers"])
        self.mlp = MLP(inputs.width, config["hidden_layers"], config["dropout"], self._norm)
        # Without hidden layers the perceptron would only repeat the input.
        deep_width = self.mlp.width if config["hidden_layers"] else 0
        self.output = nn.Linear(inputs.width + deep_width, 1)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x0 = torch.cat([self.embedding(ids), numeric], 1)
        crossed, crosses = self.cross(x0)
        deep, hidden = self.mlp(x0)
        both = torch.cat([crossed, deep], 1) if hidden else crossed
        return self.output(both).squeeze(1), {**hidden, **crosses}

"""What the networks of one task have before their output, as blocks of networks of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.attention import FieldAttention
from spark_ctr.networks.layers.bilinear import BilinearInteraction
from spark_ctr.networks.layers.context import hidden_gates
from spark_ctr.networks.layers.cross import CrossNetwork
from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.networks.layers.numeric_fields import common_dim
from spark_ctr.networks.layers.senet import FieldReweighting
from spark_ctr.settings import Setting, choice, integer
from spark_ctr.tables import Inputs

Hidden = dict[str, Tensor]


def configured_mlp(
    width: int,
    inputs: Inputs,
    config: dict[str, Any],
    norm: str | None,
    prefix: str = "hidden",
    layers: Sequence[int] | None = None,
) -> MLP:
    """Return an `MLP` as the settings of a perceptron and of its context say.

    Parameters
    ----------
    width : int
        Of its input.
    inputs : Inputs
        Columns of the network.
    config : dict
    norm : {"batch", "layer", None}
    prefix : str
    layers : sequence of int, optional
        Instead of "hidden_layers".
    """
    widths = config["hidden_layers"] if layers is None else layers
    return MLP(width, widths, config["dropout"], norm, prefix, hidden_gates(inputs, config))


class Block(nn.Module):
    """Part of a network between embedded columns and an output.

    Parameters
    ----------
    inputs : Inputs
    config : dict
        Of the network that it is part of, `BLOCK_SETTINGS` and those of a perceptron.
    norm : {"batch", "layer", None}

    Attributes
    ----------
    width : int
        Of what `forward` returns.
    reads_fields : bool
        Whether it reads the columns as fields of one dimension.
    """

    width: int
    reads_fields: ClassVar[bool] = False

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        super().__init__()
        self.mlp = configured_mlp(inputs.width, inputs, config, norm)
        self.width = self.mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """Map x [B, inputs.width] and fields [B, F, k] to [B, width] and hidden layers by name.

        Fields are those of a block that reads them, else anything; context is that of `MLP`.
        """
        return self.mlp(x, context)


class CrossBlock(Block):
    """Cross layers beside a perceptron, of `dcnv2`."""

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        super().__init__(inputs, config, norm)
        self.cross = CrossNetwork(inputs.width, config["cross_layers"])
        self.width = inputs.width + self.mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """See `Block.forward`."""
        crossed, crosses = self.cross(x)
        deep, hidden = self.mlp(x, context)
        return torch.cat([crossed.to(deep.dtype), deep], 1), {**hidden, **crosses}


class PairBlock(Block):
    """Pairs of fields, summed but not over their dimensions, beside a perceptron, of `deepfm`."""

    reads_fields = True

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        super().__init__(inputs, config, norm)
        self.width = common_dim(inputs) + self.mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """See `Block.forward`."""
        pairs = 0.5 * (fields.sum(1).square() - fields.square().sum(1))
        deep, hidden = self.mlp(x, context)
        return torch.cat([pairs.to(deep.dtype), deep], 1), hidden


class AttentionBlock(Block):
    """Attention between fields beside a perceptron, of `autoint`."""

    reads_fields = True

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        super().__init__(inputs, config, norm)
        dim, width = common_dim(inputs), config["attention_dim"]
        self.attention = nn.ModuleList(
            FieldAttention(width if layer else dim, width, config["heads"], config["dropout"], True)
            for layer in range(config["attention_layers"])
        )
        self.width = (len(inputs.tables) + len(inputs.numeric)) * width + self.mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """See `Block.forward`."""
        for layer in self.attention:
            fields = layer(fields)
        deep, hidden = self.mlp(x, context)
        return torch.cat([fields.flatten(1).to(deep.dtype), deep], 1), hidden


class BilinearBlock(Block):
    """Perceptron over the bilinear pairs of the fields, plain and reweighted, of `fibinet`."""

    reads_fields = True

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        nn.Module.__init__(self)
        dim, fields = common_dim(inputs), len(inputs.tables) + len(inputs.numeric)
        if fields < 2:
            raise ValueError(
                "block 'fibinet' models pairs of columns and there is one only, "
                f"{[*(t.name for t in inputs.tables), *inputs.numeric]}; choose another block"
            )
        self.senet = FieldReweighting(fields, config["reduction"])
        self.bilinear = BilinearInteraction(fields, dim, "interaction")
        self.mlp = configured_mlp(2 * self.bilinear.pairs * dim, inputs, config, norm)
        self.width = self.mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """See `Block.forward`."""
        pairs = [self.bilinear(fields), self.bilinear(self.senet(fields))]
        return self.mlp(torch.cat(pairs, 1).flatten(1), context)


class GatedBlock(Block):
    """Two perceptrons over differently weighted columns side by side, of `finalmlp`."""

    def __init__(self, inputs: Inputs, config: dict[str, Any], norm: str | None) -> None:
        super().__init__(inputs, config, norm)
        self.second_mlp = configured_mlp(inputs.width, inputs, config, norm, "second")
        self.gates = nn.Parameter(torch.zeros(2, inputs.width))
        self.width = self.mlp.width + self.second_mlp.width

    def forward(self, x: Tensor, fields: Tensor, context: Tensor | None) -> tuple[Tensor, Hidden]:
        """See `Block.forward`."""
        first, hidden = self.mlp(x * (2 * torch.sigmoid(self.gates[0])), context)
        second, others = self.second_mlp(x * (2 * torch.sigmoid(self.gates[1])), context)
        return torch.cat([first, second], 1), {**hidden, **others}


BLOCKS: dict[str, type[Block]] = {
    "dnn": Block,
    "deepfm": PairBlock,
    "dcnv2": CrossBlock,
    "autoint": AttentionBlock,
    "fibinet": BilinearBlock,
    "finalmlp": GatedBlock,
}

BLOCK_SETTINGS: dict[str, Setting] = {
    "block": choice(*BLOCKS, doc="network of one task that trunk or experts are the body of"),
    "cross_layers": integer(3, at_least=0, at_most=64, doc="cross layers of the block 'dcnv2'"),
    "attention_layers": integer(2, at_least=1, doc="layers of the block 'autoint'"),
    "attention_dim": integer(32, at_least=1, doc="width of all heads together, of 'autoint'"),
    "heads": integer(2, at_least=1, doc="heads of a layer of the block 'autoint'"),
    "reduction": integer(3, at_least=1, doc="fields for each unit that reweights, of 'fibinet'"),
}


def joined(parts: list[Hidden]) -> Hidden:
    """Return the layers of one name of several blocks side by side."""
    return {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}

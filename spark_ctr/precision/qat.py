"""Quantisation-aware networks: layers that compute on quantised weights and train FP32 masters."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from spark_ctr.networks.layers.bags import Bags
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.index8 import index8_fake_quantise, index8_range

INT8 = "int8"
BINARY = "binary"


class Index8Linear(nn.Module):
    """A linear layer whose weight is fake-quantised to 8-bit indices in every forward.

    Parameters
    ----------
    linear : nn.Linear
        The layer to copy weight and bias from.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(linear.weight.detach().clone())
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, float32 [B, N], of inputs [B, K]."""
        weight = index8_fake_quantise(self.weight, *index8_range(self.weight))
        return functional.linear(x, weight, self.bias)


class Index8Embedding(nn.Embedding):
    """Stacked embedding tables, fake-quantised with one range for each block of rows.

    Only the rows looked up are quantised, but every forward scans the tables for their ranges.

    Parameters
    ----------
    embedding : nn.Embedding
        The weight [sum(rows), dim] that holds the blocks one after the other.
    rows : list of int
        Rows of each block: a column's table, or the table that columns share.
    blocks : list of int
        Block of each slot that is looked up.
    """

    blocks: Tensor | None

    def __init__(self, embedding: nn.Embedding, rows: list[int], blocks: list[int]) -> None:
        weight = embedding.weight.detach().clone()
        super().__init__(
            embedding.num_embeddings,
            embedding.embedding_dim,
            sparse=embedding.sparse,
            _weight=weight,
        )
        self.rows = rows
        each_its_own = blocks == list(range(len(rows)))
        self.register_buffer(
            "blocks", None if each_its_own else torch.tensor(blocks), persistent=False
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids [B, slots], offset into the stacked blocks; float32 [B, slots, dim]."""
        scale, minimum = self.ranges()
        if self.blocks is not None:
            scale, minimum = scale[self.blocks], minimum[self.blocks]
        return index8_fake_quantise(super().forward(ids), scale[:, None], minimum[:, None])

    def ranges(self) -> tuple[Tensor, Tensor]:
        """Return scale and minimum of each block, float32 [blocks]."""
        pairs = [index8_range(table) for table in self.weight.detach().split(self.rows)]
        scale, minimum = zip(*pairs, strict=True)
        return torch.stack(scale), torch.stack(minimum)


def quantisable_layers(network: Network) -> list[str]:
    """Return the names of every FP32 linear and embedding layer, in module order."""
    return [name for name, layer in network.named_modules() if is_fp32(layer)]


def is_fp32(layer: nn.Module) -> bool:
    """Return whether a module is a linear or embedding layer that is not quantised yet."""
    return type(layer) in (nn.Linear, nn.Embedding)


def prepare(
    network: Network,
    plan: Mapping[str, str],
    calibration: tuple[Tensor, Tensor] | None = None,
) -> Network:
    """Copy a network with the layers of a plan quantised.

    Parameters
    ----------
    network : Network
        The FP32 network; left as it is.
    plan : mapping of str to {"int8", "binary"}
        Precision by layer name, from `spark_ctr.precision.sensitivity.choose_plan`. Layers not
        named stay FP32. Embeddings cannot be binary.
    calibration : (Tensor [B, ids_width] int, Tensor [B, M] float32), optional
        Ids and numeric values of some rows, to which the values of the input signs of 1-bit
        layers are fitted; without it they start at +-1.

    Returns
    -------
    Network
        Same class, names and training mode; forward and backward as for the FP32 network.

    Raises
    ------
    ValueError
        If the plan names no such layer or an unknown precision.
    """
    copied = copy.deepcopy(network)
    unknown = sorted(set(plan) - set(quantisable_layers(copied)))
    if unknown:
        raise ValueError(
            f"the plan names layers {unknown} that network '{network.name}' does not have; "
            f"it has {quantisable_layers(network)}"
        )
    binary = [name for name, precision in plan.items() if precision == BINARY]
    inputs = {} if calibration is None else _layer_inputs(copied, binary, *calibration)
    bags = _bags_of(copied)
    for name, precision in plan.items():
        layer = _quantised(name, copied.get_submodule(name), precision, bags)
        if name in inputs and isinstance(layer, BinaryLinear):
            layer.fit_input(inputs[name])
        copied.set_submodule(name, layer.train(network.training))
    return copied


def _quantised(name: str, layer: nn.Module, precision: str, bags: dict[str, Bags]) -> nn.Module:
    if precision == INT8 and isinstance(layer, nn.Linear):
        return Index8Linear(layer)
    if precision == INT8 and isinstance(layer, nn.Embedding):
        return Index8Embedding(layer, bags[name].rows, bags[name].blocks)
    if precision == BINARY and isinstance(layer, nn.Linear):
        return BinaryLinear(layer)
    kinds = "'int8' or 'binary'" if isinstance(layer, nn.Linear) else "'int8'"
    raise ValueError(f"layer '{name}' cannot be '{precision}'; the plan may say {kinds}")


def _bags_of(network: Network) -> dict[str, Bags]:
    """Return which rows of each embedding layer are looked up, by layer name."""
    return {
        f"{name}.weights.{g}": bags
        for name, module in network.named_modules()
        if isinstance(module, EmbeddingTables)
        for g, bags in enumerate(module.bags)
        if isinstance(bags, Bags)
    }


@torch.no_grad()
def _layer_inputs(
    network: Network, names: list[str], ids: Tensor, numeric: Tensor
) -> dict[str, Tensor]:
    """Run the network in evaluation mode and return the inputs of the named layers."""
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, arguments: tuple[Tensor]) -> None:
            inputs[name] = arguments[0]

        return network.get_submodule(name).register_forward_pre_hook(hook)

    handles = [keep(name) for name in names]
    training = network.training
    network.eval()(ids, numeric)
    network.train(training)
    for handle in handles:
        handle.remove()
    return inputs

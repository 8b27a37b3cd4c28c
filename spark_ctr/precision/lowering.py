"""From the graph of a traced network to the operations of a packed program."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.fx
from torch import nn

from spark_ctr.networks.layers.bags import Bags
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.networks.tracing import trace
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.functions import FUNCTIONS
from spark_ctr.precision.qat import Index8Linear
from spark_ctr.precision.quantised_arrays import (
    batch_norm_map,
    coarse_rows,
    embedding_arrays,
    layer_norm_arrays,
    linear_arrays,
)
from spark_ctr.precision.symbols import Ids, Value, Writer, holds_symbol, value_of
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs

_LINEAR = (nn.Linear, Index8Linear, BinaryLinear)
# Modules that are operations of their own; others are traced through.
_LEAVES = (
    *_LINEAR,
    EmbeddingTables,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    nn.BatchNorm1d,
)


class CannotPackError(ValueError):
    """A network does what a packed program cannot."""


@torch.no_grad()
def lower(network: Network) -> tuple[ProgramBuilder, int]:
    """Write the program of a network.

    Linear layers and tables that are still FP32 become layers of zeros: the program then tells
    no more than that the network can be packed.

    Parameters
    ----------
    network : Network
        Left as it is.

    Returns
    -------
    builder : ProgramBuilder
    logits : int
        The value of the logits.

    Raises
    ------
    CannotPackError
        If the network cannot be traced, or does what is no operation of a program.
    """
    lowering = _Lowering(network)
    return lowering.writer.builder, lowering.logits()


class _Lowering:
    def __init__(self, network: Network) -> None:
        self.inputs = network.inputs
        self.writer = Writer(network.inputs)
        try:
            self._traced = trace(network, _LEAVES)
        except Exception as error:  # whatever a network of a user's own runs into
            reason = str(error).partition("\n")[0]
            raise CannotPackError(
                f"torch.fx cannot trace it: {type(error).__name__} {reason}"
            ) from error
        self._known: dict[torch.fx.Node, Any] = {}
        self._calls = Counter(n.target for n in self._traced.graph.nodes if n.op == "call_module")

    def logits(self) -> int:
        for node in self._traced.graph.nodes:
            try:
                if node.op == "output":
                    return value_of(self._symbols(node.args)[0]).number
                self._known[node] = self._lowered(node)
            except CannotPackError:
                raise
            except Exception as error:
                raise CannotPackError(f"{_name(node)}: {error}") from error
        raise CannotPackError("it returns nothing")

    def _symbols(self, arguments: Any) -> Any:
        return torch.fx.node.map_arg(arguments, self._known.__getitem__)

    def _lowered(self, node: torch.fx.Node) -> Any:
        if node.op == "placeholder":
            return (
                Ids(tuple(range(self.inputs.ids_width))) if node.name == "ids" else Value(NUMERIC)
            )
        if node.op == "get_attr":
            tensor = operator.attrgetter(str(node.target))(self._traced)
            if isinstance(tensor, nn.Parameter):
                self.writer.name(tensor, _own_name(node))
            return tensor
        arguments, options = self._symbols(node.args), self._symbols(node.kwargs)
        if node.op == "call_module":
            return self._module(node, *arguments, **options)
        if not holds_symbol((arguments, options)):
            if node.op == "call_method":
                return getattr(arguments[0], str(node.target))(*arguments[1:], **options)
            return node.target(*arguments, **options)  # type: ignore[operator]
        function = FUNCTIONS.get(_function(node))
        if function is None:
            raise CannotPackError(f"{_name(node)} is no operation of a packed program")
        return function(self.writer, *arguments, **options)

    def _module(self, node: torch.fx.Node, x: Any) -> Any:
        name, module = _own_name(node), self._traced.get_submodule(str(node.target))
        if isinstance(module, EmbeddingTables):
            return self._embedded(name, module, x)
        if isinstance(module, _LINEAR):
            kind, arrays = linear_arrays(module)
            if isinstance(module, Index8Linear) and module.levels is not None:
                zero = int(module.levels.zero)
                self._keep(name, arrays)
                levels = self.writer.add("quantise", value_of(x), layer=name, zero=zero)
                return self.writer.add(kind, levels, layer=name, zero=zero)
            bias = {"bias": "bias" in arrays} if kind == "linear" else {}
            self._keep(name, arrays)
            return self.writer.add(kind, value_of(x), layer=name, **bias)
        if isinstance(module, nn.BatchNorm1d):
            return self._batch_norm(node, module, value_of(x))
        if isinstance(module, nn.LayerNorm):
            self._keep(name, layer_norm_arrays(module))
            epsilon = float(module.eps)
            return self.writer.add("layer_norm", value_of(x), layer=name, epsilon=epsilon)
        raise CannotPackError(
            f"{_name(node)} is of {type(module).__name__}; ids can be looked up by EmbeddingTables "
            "of spark_ctr.networks.layers.embedding alone"
        )

    def _keep(self, layer: str, arrays: dict[str, np.ndarray]) -> None:
        self.writer.builder.arrays.update({f"{layer}.{part}": a for part, a in arrays.items()})

    def _embedded(self, name: str, module: EmbeddingTables, ids: Any) -> Value:
        if not isinstance(ids, Ids):
            raise TypeError("it looks up what are no ids of columns")
        columns = _columns(self.inputs, ids.slots)
        layers, coarse = [""] * len(columns), [[0, 0]] * len(columns)
        for g, held in enumerate(module.groups):
            layer = f"{name}.weights.{g}"
            weight, bags = module.weights[g], module.bags[g]
            assert isinstance(weight, nn.Embedding) and isinstance(bags, Bags)
            self._keep(layer, embedding_arrays(weight, bags.rows))
            few = coarse_rows(weight, len(bags.rows))
            for position in held:
                layers[position] = layer
                coarse[position] = few[bags.block_of[position]]
        some = {"coarse": coarse} if any(first < last for first, last in coarse) else {}
        return self.writer.add("embed", columns=columns, layers=layers, **some)

    def _batch_norm(self, node: torch.fx.Node, module: nn.BatchNorm1d, x: Value) -> Value:
        factor, shift = batch_norm_map(module)
        before = node.args[0]
        if self._is_alone(before):
            self.writer.builder.fold(x.number, factor, shift)
            return x
        scaled = self.writer.add("multiply", x, torch.from_numpy(factor))
        return self.writer.add("add", scaled, torch.from_numpy(shift))

    def _is_alone(self, node: Any) -> bool:
        """Return whether a node is a linear layer called once, and read once."""
        return (
            isinstance(node, torch.fx.Node)
            and node.op == "call_module"
            and isinstance(self._traced.get_submodule(str(node.target)), _LINEAR)
            and self._calls[node.target] == 1
            and len(node.users) == 1
        )


def _columns(inputs: Inputs, slots: Sequence[int]) -> list[int]:
    """Return the columns whose slots these are, in their order."""
    columns_of = [c for c, table in enumerate(inputs.tables) for _ in range(table.slots)]
    columns = list(dict.fromkeys(columns_of[slot] for slot in slots))
    wanted = [s for c in columns for s, column in enumerate(columns_of) if column == c]
    if list(slots) != wanted:
        raise ValueError(f"slots {list(slots)} are not those of whole columns")
    return columns


def _own_name(node: torch.fx.Node) -> str:
    return str(node.target).removeprefix("network.")


def _function(node: torch.fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _name(node: torch.fx.Node) -> str:
    """Return what messages call a node."""
    return f"module '{_own_name(node)}'" if node.op == "call_module" else f"'{_function(node)}'"

"""Operations with weights: look-ups, linear layers and layer normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from spark_ctr.kernels import BinaryLinear, Index8Linear
from spark_ctr.runtime.lookup import Lookup, blocks_of
from spark_ctr.runtime.operation import Operation, Run
from spark_ctr.runtime.shapes import BATCH, Shape, of_rows


class Embed(Operation):
    """Embeddings of columns side by side, by 8-bit tables; its operand is always the ids."""

    count = 0
    keys = ("columns", "layers")

    def layers(self) -> dict[str, str]:
        """See `Operation.layers`."""
        return dict.fromkeys(self.arguments["layers"], "int8")

    def _shape(self) -> Shape:
        tables, layers = self.inputs.tables, self.arguments["layers"]
        columns = self.integers("columns", 0, len(tables) - 1)
        if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
            raise ValueError(f"layers are {layers!r}")
        if len(set(columns)) < len(columns) or len(layers) != len(columns):
            raise ValueError(f"columns {columns} are looked up in layers {layers}")
        self._parts: list[tuple[list[int], np.ndarray, np.ndarray, np.ndarray]] = []
        for name in dict.fromkeys(layers):
            held = [c for c, layer in zip(columns, layers, strict=True) if layer == name]
            _, rows = blocks_of(tables, held)
            index = self.weights.get(f"{name}.index", np.int8, sum(rows), None)
            scale, minimum = (
                self.weights.get(f"{name}.{part}", np.float32, len(rows))
                for part in ("scale", "minimum")
            )
            self._parts.append((held, index, scale, minimum))
        self._dims = {c: index.shape[1] for held, index, *_ in self._parts for c in held}
        return BATCH, sum(self._dims.values())

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        lookups = [Lookup(self.inputs, *part) for part in self._parts]
        columns, width = self.arguments["columns"], self.shape[1]
        if len(lookups) == 1 and lookups[0].order == columns:
            look_up = lookups[0]
            return lambda ids: look_up(ids).reshape(len(ids), width)
        ends = np.cumsum([self._dims[c] for c in columns], dtype=np.int64).tolist()
        end_of = dict(zip(columns, ends, strict=True))

        def run(ids: np.ndarray) -> np.ndarray:
            embedded = np.empty((len(ids), width), dtype=np.float32)
            for look_up in lookups:
                values = look_up(ids)
                dim = values.shape[2]
                for j, column in enumerate(look_up.order):
                    embedded[:, end_of[column] - dim : end_of[column]] = values[:, j]
            return embedded

        return run


class Linear(Operation):
    """``x @ weight.T + bias`` over the last axis, by an 8-bit weight."""

    keys: ClassVar[tuple[str, ...]] = ("layer", "bias")
    precision: ClassVar[str] = "int8"
    _make: Callable[[], Run]

    def layers(self) -> dict[str, str]:
        """See `Operation.layers`."""
        return {self.name("layer"): self.precision}

    def _shape(self) -> Shape:
        (shape,) = self.operands
        if len(of_rows(shape)) < 2 or shape[-1] == 0:
            raise ValueError("its operand has no inputs of a layer")
        return *shape[:-1], self._outputs(self.name("layer"), shape[-1])

    def _outputs(self, layer: str, inputs: int) -> int:
        index = self.weights.get(f"{layer}.index", np.int8, None, inputs)
        maps = [
            self.weights.get(f"{layer}.{part}", np.float32, None) for part in ("scale", "minimum")
        ]
        if len(maps[0]) != len(maps[1]) or len(maps[0]) not in (1, len(index)):
            raise ValueError(f"'{layer}' has {len(index)} outputs and {len(maps[0])} scales")
        if type(self.arguments["bias"]) is not bool:
            raise ValueError(f"bias is {self.arguments['bias']!r}")
        bias = None
        if self.arguments["bias"]:
            bias = self.weights.get(f"{layer}.bias", np.float32, len(index))
        scale, minimum = maps
        self._make = lambda: Index8Linear(index, scale, minimum, bias)
        return len(index)

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        key = type(self), *sorted(self.arguments.items()), self.operands[0][-1]
        kernel = self.weights.kernel(key, self._make)
        if len(self.shape) == 2:
            return kernel
        inputs, parts = self.operands[0][-1], self.shape[1:]
        return lambda x: kernel(x.reshape(-1, inputs)).reshape(len(x), *parts)


class Binary(Linear):
    """``(sign(x) @ sign(weight).T) * scale + bias`` over the last axis."""

    keys = ("layer",)
    precision = "binary"

    def _outputs(self, layer: str, inputs: int) -> int:
        signs = self.weights.get(f"{layer}.signs", np.uint8, None, -(-inputs // 8))
        scale, bias = (
            self.weights.get(f"{layer}.{part}", np.float32, len(signs))
            for part in ("scale", "bias")
        )
        if inputs % 8 and (signs[:, -1] >> (inputs % 8)).any():
            raise ValueError(f"'{layer}' has signs of inputs it has not")
        self._make = lambda: BinaryLinear(signs, inputs, scale, bias)
        return len(signs)


class LayerNorm(Operation):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over the last axis."""

    keys = ("layer", "epsilon")

    def _shape(self) -> Shape:
        (shape,) = self.operands
        layer, epsilon = self.name("layer"), self.arguments["epsilon"]
        if len(of_rows(shape)) < 2 or shape[-1] == 0:
            raise ValueError("its operand has nothing to normalise")
        if type(epsilon) is not float or not 0 < epsilon < 1:
            raise ValueError(f"epsilon is {epsilon!r}")
        self._scale, self._bias = (
            self.weights.get(f"{layer}.{part}", np.float32, shape[-1]) for part in ("scale", "bias")
        )
        return shape

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        epsilon, scale, bias = np.float32(self.arguments["epsilon"]), self._scale, self._bias

        def run(x: np.ndarray) -> np.ndarray:
            x = x - x.mean(axis=-1, keepdims=True)
            variance = np.square(x).mean(axis=-1, keepdims=True)
            x /= np.sqrt(variance + epsilon)
            x *= scale
            x += bias
            return x

        return run

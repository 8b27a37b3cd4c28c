"""Operations with weights but no tables: linear layers and layer normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from spark_ctr.kernels import BinaryLinear, Index8Linear
from spark_ctr.runtime.operation import Operation, Run
from spark_ctr.runtime.shapes import Shape, of_rows


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

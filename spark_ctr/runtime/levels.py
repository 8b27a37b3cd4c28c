"""Operations on levels: float32 to 8 bits, and linear layers that sum whole numbers."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels import IntegerLinear as IntegerKernel
from spark_ctr.kernels import quantise
from spark_ctr.kernels.levels import MOST_INPUTS
from spark_ctr.runtime.layers import Linear
from spark_ctr.runtime.operation import Operation, Run
from spark_ctr.runtime.shapes import Shape, of_rows


class Quantise(Operation):
    """``clamp(rint(x * inverse) + zero, 0, 255)`` over the last axis."""

    keys = ("layer", "zero")
    levels = True

    def _shape(self) -> Shape:
        (shape,) = self.operands
        if len(of_rows(shape)) < 2:
            raise ValueError("its operand has nothing to quantise")
        layer = self.name("layer")
        self._inverse = self.weights.get(f"{layer}.inverse", np.float32, None)
        if len(self._inverse) not in (1, shape[-1]) or not (self._inverse > 0).all():
            raise ValueError(f"'{layer}' has no step above 0 for each of {shape[-1]} inputs")
        self.integer("zero", 0, 255)
        return shape

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        inverse, zero = self._inverse, self.arguments["zero"]
        return lambda x: quantise(x, inverse, zero)


class IntegerLinear(Linear):
    """``float32(sum over k of (x[k] - zero) * index[n, k]) * scale[n] + bias[n]``."""

    keys = ("layer", "zero")
    of_levels = True

    def _outputs(self, layer: str, inputs: int) -> int:
        if inputs > MOST_INPUTS:
            raise ValueError(f"'{layer}' has {inputs} inputs, at most {MOST_INPUTS} can be summed")
        index = self.weights.get(f"{layer}.index", np.int8, None, inputs)
        scale, bias = (
            self.weights.get(f"{layer}.{part}", np.float32, len(index))
            for part in ("scale", "bias")
        )
        zero = self.integer("zero", 0, 255)
        self._make = lambda: IntegerKernel(index, scale, bias, zero)
        return len(index)

"""Operations without weights: arithmetic, products, and how values are arranged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from spark_ctr.runtime.operation import Operation, Run
from spark_ctr.runtime.shapes import BATCH, MOST_ELEMENTS, Shape, broadcast, of_rows


class Pairwise(Operation):
    """A function of two numbers, element by element; shapes broadcast by NumPy's rule."""

    count = 2
    elementwise = True
    function: ClassVar[Callable[..., np.ndarray]]

    def _shape(self) -> Shape:
        return broadcast(*self.operands)

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        function = type(self).function
        if into is None:
            return function
        return lambda a, b: function(a, b, out=(a, b)[into])


class Add(Pairwise):
    """``a + b``."""

    function = np.add


class Subtract(Pairwise):
    """``a - b``."""

    function = np.subtract


class Multiply(Pairwise):
    """``a * b``."""

    function = np.multiply


class Unary(Operation):
    """A function of one number, element by element."""

    elementwise = True

    def _shape(self) -> Shape:
        return of_rows(self.operands[0])

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        function = self.function
        return lambda x: function(x, out=None if into is None else x)

    @staticmethod
    def function(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Compute it."""
        raise NotImplementedError


class Relu(Unary):
    """``x`` where it is above 0, else 0."""

    @staticmethod
    def function(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Compute it."""
        # Not the number 0, which is a double.
        return np.maximum(x, np.float32(0), out=out)


class Tanh(Unary):
    """``tanh(x)``."""

    @staticmethod
    def function(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Compute it."""
        return np.tanh(x, out=out)


class Sigmoid(Unary):
    """``1 / (1 + exp(-x))``."""

    @staticmethod
    def function(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Compute it."""
        # Of what is at most 0, so that nothing overflows.
        small = np.exp(-np.abs(x))
        return np.divide(np.where(x < 0, small, np.float32(1)), 1 + small, out=out)


class Softmax(Operation):
    """``exp(x) / sum(exp(x))`` over the last axis."""

    def _shape(self) -> Shape:
        if len(of_rows(self.operands[0])) < 2 or self.operands[0][-1] == 0:
            raise ValueError("its operand has nothing to choose from")
        return self.operands[0]

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""

        def run(x: np.ndarray) -> np.ndarray:
            x = x - x.max(axis=-1, keepdims=True)
            np.exp(x, out=x)
            x /= x.sum(axis=-1, keepdims=True)
            return x

        return run


class Sum(Operation):
    """Sum over an axis, in its order; the axis is gone from the result."""

    keys = ("axis",)

    def _shape(self) -> Shape:
        shape = of_rows(self.operands[0])
        axis = self.integer("axis", 1, len(shape) - 1)
        return shape[:axis] + shape[axis + 1 :]

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        axis = self.arguments["axis"]

        def run(x: np.ndarray) -> np.ndarray:
            # NumPy's own sum takes another order where the axis is the last.
            parts = np.moveaxis(x, axis, 0)
            total = parts[0].copy() if len(parts) else np.zeros(parts.shape[1:], np.float32)
            for part in parts[1:]:
                total += part
            return total

        return run


class MatMul(Operation):
    """Matrix products over the last two axes; the axes before them broadcast."""

    count = 2

    def _shape(self) -> Shape:
        left, right = of_rows(self.operands[0]), self.operands[1]
        if len(left) < 2 or len(right) < 2 or left[-1] != right[-2] or right[-2] < 1:
            raise ValueError("its operands are no matrices that can be multiplied")
        return *broadcast(left[:-2], right[:-2]), left[-2], right[-1]

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        left, right = self.operands
        k, parts = right[-2], self.shape[1:]
        if len(right) == 2:
            return lambda x, w: (x.reshape(-1, k) @ w).reshape(len(x), *parts)
        if len(left) == 4 and left[2] == 1 and right[0] == left[1] and len(right) == 3:

            def run(x: np.ndarray, w: np.ndarray) -> np.ndarray:
                # A product of many rows for each matrix, not one of a single row for each row.
                result = np.empty((len(x), *parts), dtype=np.float32)
                np.matmul(x[:, :, 0].transpose(1, 0, 2), w, out=result[:, :, 0].transpose(1, 0, 2))
                return result

            return run
        return np.matmul


class Concat(Operation):
    """Values side by side along an axis."""

    count = None
    keys = ("axis",)

    def _shape(self) -> Shape:
        first = of_rows(self.operands[0])
        axis = self.integer("axis", 1, len(first) - 1)
        rest = {(*shape[:axis], 0, *shape[axis + 1 :]) for shape in self.operands}
        if len(rest) > 1:
            raise ValueError("its operands differ along other axes")
        return (*first[:axis], sum(shape[axis] for shape in self.operands), *first[axis + 1 :])

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        axis = self.arguments["axis"]
        return lambda *parts: np.concatenate(parts, axis=axis)


class Reshape(Operation):
    """The elements of a row in their order (the last axis fastest) under another shape."""

    keys = ("shape",)
    view = True

    def _shape(self) -> Shape:
        found = of_rows(self.operands[0])
        wanted = self.integers("shape", 0, MOST_ELEMENTS)
        if math.prod(wanted) != math.prod(found[1:]):
            raise ValueError(f"shape {wanted} has not the elements of its operand")
        return BATCH, *wanted

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        parts = self.shape[1:]
        return lambda x: x.reshape(len(x), *parts)


class Transpose(Operation):
    """Axes in another order; the rows stay first."""

    keys = ("axes",)
    view = True

    def _shape(self) -> Shape:
        shape = of_rows(self.operands[0])
        axes = self.integers("axes", 0, len(shape) - 1)
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"axes {axes} are no order of {len(shape)} axes")
        return tuple(shape[axis] for axis in axes)

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        axes = self.arguments["axes"]
        return lambda x: x.transpose(axes)


class Slice(Operation):
    """The part of an axis from `start` up to and without `stop`."""

    keys = ("axis", "start", "stop")
    view = True

    def _shape(self) -> Shape:
        shape = of_rows(self.operands[0])
        axis = self.integer("axis", 1, len(shape) - 1)
        start = self.integer("start", 0, shape[axis])
        stop = self.integer("stop", start, shape[axis])
        return (*shape[:axis], stop - start, *shape[axis + 1 :])

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        part: tuple[Any, ...] = (slice(None),) * self.arguments["axis"]
        part += (slice(self.arguments["start"], self.arguments["stop"]),)
        return lambda x: x[part]


class Take(Operation):
    """Some positions of an axis, in any order and as often as named."""

    keys = ("axis", "positions")

    def _shape(self) -> Shape:
        shape = of_rows(self.operands[0])
        axis = self.integer("axis", 1, len(shape) - 1)
        positions = self.integers("positions", 0, shape[axis] - 1)
        return (*shape[:axis], len(positions), *shape[axis + 1 :])

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        axis, positions = self.arguments["axis"], np.array(self.arguments["positions"], np.int64)
        return lambda x: x.take(positions, axis=axis)

"""What kernels compute: values of a row, and steps that each may stand for several operations.

`spark_ctr.runtime.planner` makes it of a program; ``native_words`` and ``cuda_execution`` read it.
Values lie one row after the other; within a row, axes are in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from spark_ctr.runtime.stacked_rows import StackedRows

# Number of the value that holds the numeric columns.
NUMERIC_VALUE = 0


class Sort(IntEnum):
    """What a value is made of."""

    NUMBERS = 0
    LEVELS = 1
    SIGNS = 2
    CONSTANT = 3


class Finish(IntEnum):
    """What becomes of the sums of a layer."""

    NUMBERS = 0
    RELU = 1
    LEVELS = 2
    SIGNS = 3


class Pairing(IntEnum):
    """How two numbers become one."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2


@dataclass(frozen=True)
class Value:
    """What a step writes and others read.

    Attributes
    ----------
    sort : Sort
    groups, count : int
        A row has so many groups of so many elements; layers read and write groups.
    constant : ndarray, float32, or None
        Of a constant, which is the same for all rows.
    """

    sort: Sort
    groups: int
    count: int
    constant: np.ndarray | None = None

    @property
    def elements(self) -> int:
        """Elements of a row."""
        return self.groups * self.count


@dataclass(frozen=True)
class Levels:
    """How numbers become levels: ``clamp(rint(x * inverse) + zero, 0, 255)``.

    Attributes
    ----------
    zero : int
    inverse : ndarray [1] or [width of a group], float32
    """

    zero: int
    inverse: np.ndarray


@dataclass(frozen=True)
class EmbedColumn:
    """A column of a look-up.

    Attributes
    ----------
    column : int
        Position in the tables of the inputs.
    at : int
        Element of the result where its embedding begins.
    scale, minimum : float32
        The affine map of its rows.
    rows : StackedRows
        Of its layer.
    block : int
        Its rows among those of the layer.
    """

    column: int
    at: int
    scale: np.float32
    minimum: np.float32
    rows: StackedRows
    block: int


@dataclass(frozen=True)
class Embed:
    """Look-up of columns into a value, as numbers or as levels."""

    columns: tuple[EmbedColumn, ...]
    levels: Levels | None
    result: int


@dataclass(frozen=True)
class Layer:
    """A linear layer of whole numbers.

    Attributes
    ----------
    binary : bool
        Whether it reads signs and `weight` is signs; else levels, and 8-bit indices.
    finish : Finish
    rectified : bool
        Whether ReLU comes before the levels.
    weight, scale, bias : ndarray
    zero : int
        The level that stands for 0 in the input.
    levels : Levels or None
        Of the result.
    x, result : int
    """

    binary: bool
    finish: Finish
    rectified: bool
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    zero: int
    levels: Levels | None
    x: int
    result: int


@dataclass(frozen=True)
class Quantise:
    """Numbers to `count` levels of each group of the result, from position `at` on."""

    count: int
    at: int
    levels: Levels
    x: int
    result: int


@dataclass(frozen=True)
class Signs:
    """Signs of numbers, group by group."""

    x: int
    result: int


@dataclass(frozen=True)
class Relu:
    """``x if x > 0 else 0``."""

    x: int
    result: int


@dataclass(frozen=True)
class Axes:
    """A loop over two arrays; axes that lie alike in both are one.

    Attributes
    ----------
    lengths, a, b : tuple of int
        Length of each axis, and the elements of either array from one position to the next.
    """

    lengths: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], a: Sequence[int], b: Sequence[int]) -> Axes:
        """Return the loop over two arrays with these strides."""
        axes: list[tuple[int, int, int]] = []
        for length, x, y in zip(lengths, a, b, strict=True):
            if length == 1:
                continue
            if axes and (axes[-1][1], axes[-1][2]) == (x * length, y * length):
                axes[-1] = axes[-1][0] * length, x, y
            else:
                axes.append((length, x, y))
        return cls(*(tuple(part) for part in zip(*(axes or [(1, 1, 1)]), strict=True)))


@dataclass(frozen=True)
class Pair:
    """Two numbers to one, over `axes`: strides of the operands, the result is dense."""

    pairing: Pairing
    axes: Axes
    a: int
    b: int
    result: int


@dataclass(frozen=True)
class Sum:
    """Sum over the middle one of three axes, in its order."""

    outer: int
    count: int
    inner: int
    x: int
    result: int


@dataclass(frozen=True)
class Copy:
    """Elements to other places: from element `start` on to `to` on, over strides of both."""

    start: int
    to: int
    axes: Axes
    x: int
    result: int


@dataclass(frozen=True)
class Take:
    """Positions of the middle one of three axes."""

    outer: int
    length: int
    inner: int
    positions: tuple[int, ...]
    x: int
    result: int


Step = Embed | Layer | Quantise | Signs | Relu | Pair | Sum | Copy | Take


@dataclass
class Plan:
    """Values and steps.

    Attributes
    ----------
    values : list of Value
        The first one is the numeric columns.
    steps : list of Step
        In the order in which they are computed.
    logits : int
        The value that is the result.
    """

    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    logits: int = NUMERIC_VALUE

    def add(self, value: Value) -> int:
        """Add a value and return its number."""
        self.values.append(value)
        return len(self.values) - 1


def operands_of(step: Step) -> list[int]:
    """Return the values that a step reads, without the ids."""
    if isinstance(step, Embed):
        return []
    return [step.a, step.b] if isinstance(step, Pair) else [step.x]


def strides_of(shape: Sequence[int]) -> list[int]:
    """Return the elements from one position of an axis to the next, in row-major order."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]

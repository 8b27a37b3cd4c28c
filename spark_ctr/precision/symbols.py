"""What stands for tensors while a graph is walked, and the program that is written meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spark_ctr.precision.quantised_arrays import float_array
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.program import Operand
from spark_ctr.tables import Inputs


@dataclass(frozen=True)
class Value:
    """A value of the program, [B, ...]."""

    number: int


@dataclass(frozen=True)
class Ids:
    """The ids of some slots; they are looked up and nothing else."""

    slots: tuple[int, ...]


@dataclass(frozen=True)
class Stacked:
    """Values [B, ...] stacked before the rows: those of the members of an ensemble."""

    parts: tuple[Value, ...]


@dataclass(frozen=True)
class Rows:
    """The number of rows, in a shape."""


ROWS = Rows()


class Writer:
    """Writes operations whose operands are values, tensors and numbers.

    Parameters
    ----------
    inputs : Inputs

    Attributes
    ----------
    builder : ProgramBuilder
    """

    def __init__(self, inputs: Inputs) -> None:
        self.builder = ProgramBuilder(inputs, {})
        self._names: dict[int, str] = {}
        self._constants: dict[tuple[tuple[int, ...], bytes], str] = {}

    def name(self, tensor: Tensor, name: str) -> None:
        """Name a tensor that outlives the writer, should it become a constant."""
        self._names[id(tensor)] = name

    def operand(self, x: Any) -> Operand:
        """Return what an operation takes for a value, a tensor or a number.

        Raises
        ------
        TypeError
            For anything else.
        """
        if isinstance(x, Value):
            return x.number
        if not isinstance(x, Tensor | int | float) or isinstance(x, bool):
            raise TypeError(f"an operand is {x!r}")
        array = float_array(torch.as_tensor(x))
        array = array if array.ndim else array.reshape(1)
        key = array.shape, array.tobytes()
        if key not in self._constants:
            default = f"constant.{len(self._constants)}"
            name = self._names.get(id(x), default)
            self._constants[key] = self.builder.constant(name, array)
        return self._constants[key]

    def add(self, kind: str, *of: Any, **arguments: Any) -> Value:
        """Add an operation."""
        return Value(self.builder.add(kind, *map(self.operand, of), **arguments))

    def reshape(self, x: Value, *shape: int) -> Value:
        """Bring a value to a shape, given without the rows."""
        return Value(self.builder.reshape(x.number, *shape))

    def shape(self, x: Value) -> tuple[int, ...]:
        """Return the shape of a value without the rows."""
        return self.builder.shape(x.number)[1:]

    def axis(self, x: Value, dim: int) -> int:
        """Return an axis counted from the front, the rows being axis 0.

        Raises
        ------
        ValueError
            If it is the axis of the rows, or there is none.
        """
        axes = len(self.shape(x)) + 1
        if not -axes <= dim < axes or dim % axes == 0:
            raise ValueError(f"axis {dim} is that of the rows, or there is none")
        return dim % axes


def value_of(x: Any) -> Value:
    """Return what must be one number or more for each row.

    Raises
    ------
    TypeError
    """
    if not isinstance(x, Value):
        raise TypeError(f"an operand is {x!r}")
    return x


def holds_symbol(x: Any) -> bool:
    """Return whether arguments of a function hold anything but tensors and what Python has."""
    if isinstance(x, list | tuple):
        return any(map(holds_symbol, x))
    if isinstance(x, dict):
        return any(map(holds_symbol, x.values()))
    if isinstance(x, slice):
        return holds_symbol((x.start, x.stop, x.step))
    return isinstance(x, Value | Ids | Stacked | Rows)

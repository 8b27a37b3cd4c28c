"""What one operation of a program is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from spark_ctr.runtime.shapes import Shape, checked
from spark_ctr.runtime.weights import Weights
from spark_ctr.tables import Inputs

Run = Callable[..., np.ndarray]


class Operation(ABC):
    """An operation, checked: it fits its operands and its arrays whatever the number of rows.

    Parameters
    ----------
    arguments : dict
        A value for each of `keys`, and perhaps for those of `optional`, of any kind: whoever
        writes a file can write anything.
    operands : tuple of Shape
    weights : Weights
    inputs : Inputs
        What the network reads.

    Attributes
    ----------
    shape : Shape
        Of the result.
    count : int or None
        Number of operands; None for one or more.
    keys, optional : tuple of str
        Names of the arguments.
    view : bool
        Whether the result may lie in the memory of its operand.
    elementwise : bool
        Whether the result may overwrite an operand of its shape.
    levels, of_levels : bool
        Whether the result and the operands are levels, uint8, rather than float32.

    Raises
    ------
    ValueError
    """

    count: ClassVar[int | None] = 1
    keys: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    view: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    levels: ClassVar[bool] = False
    of_levels: ClassVar[bool] = False

    def __init__(
        self,
        arguments: dict[str, Any],
        operands: tuple[Shape, ...],
        weights: Weights,
        inputs: Inputs,
    ) -> None:
        if set(arguments) - set(self.optional) != set(self.keys):
            raise ValueError(f"it has {sorted(arguments)}, expected {sorted(self.keys)}")
        if len(operands) != self.count and (self.count is not None or not operands):
            raise ValueError(f"it has {len(operands)} operands, expected {self.count or 'some'}")
        self.arguments, self.operands = arguments, operands
        self.weights, self.inputs = weights, inputs
        self.shape = checked(self._shape())

    def layers(self) -> dict[str, str]:
        """Return the precision of the quantised layers that it computes, by name."""
        return {}

    @abstractmethod
    def _shape(self) -> Shape:
        """Check arguments and arrays, and return the shape of the result."""

    @abstractmethod
    def prepare(self, into: int | None) -> Run:
        """Return a function of the operands that computes the result.

        Parameters
        ----------
        into : int or None
            Position of the operand that the result overwrites; of an elementwise operation only.
        """

    def integer(self, key: str, least: int, most: int) -> int:
        """Return a whole number among the arguments.

        Raises
        ------
        ValueError
        """
        return whole(key, self.arguments[key], least, most)

    def integers(self, key: str, least: int, most: int) -> list[int]:
        """Return a list of whole numbers among the arguments; see `integer`."""
        numbers = self.arguments[key]
        if not isinstance(numbers, list):
            raise ValueError(f"{key} is {numbers!r}, expected a list")
        return [whole(key, number, least, most) for number in numbers]

    def name(self, key: str) -> str:
        """Return a string among the arguments; see `integer`."""
        value = self.arguments[key]
        if not isinstance(value, str):
            raise ValueError(f"{key} is {value!r}, expected a name")
        return value


def whole(what: str, value: Any, least: int, most: int) -> int:
    """Return a whole number between two bounds, both included.

    Raises
    ------
    ValueError
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {value!r}, expected a whole number in [{least}, {most}]")
    return value

"""A program: operations in the order in which they are computed, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spark_ctr.runtime.kinds import KINDS
from spark_ctr.runtime.operation import Operation, whole
from spark_ctr.runtime.shapes import BATCH, Shape
from spark_ctr.runtime.weights import Weights
from spark_ctr.tables import Inputs

# Number of a value: the ids, the numeric columns, then the result of each operation.
IDS = 0
NUMERIC = 1
FIRST = 2
_SORTS = {False: "float32, not levels", True: "levels, not float32"}
# An operand: the number of a value, or the name of a float32 array.
Operand = int | str


class Program:
    """Operations that are known to fit one another, their arrays and their operands.

    Parameters
    ----------
    inputs : Inputs
    arrays : mapping of str to ndarray
        Read by operations added later too.

    Attributes
    ----------
    operations : list of Operation
    of : list of tuple of (int or str)
        Operands of each operation.
    weights : Weights
    """

    def __init__(self, inputs: Inputs, arrays: Mapping[str, np.ndarray]) -> None:
        self.inputs = inputs
        self.weights = Weights(arrays)
        self.operations: list[Operation] = []
        self.of: list[tuple[Operand, ...]] = []

    def add(self, kind: Any, of: Any, arguments: dict[str, Any]) -> int:
        """Check an operation, add it and return the number of its result.

        Raises
        ------
        ValueError
            If the kind is unknown, or the operation does not fit.
        """
        number = FIRST + len(self.operations)
        try:
            if not isinstance(kind, str) or kind not in KINDS:
                raise ValueError("unknown kind; upgrade spark_ctr")
            if not isinstance(of, list | tuple):
                raise ValueError(f"operands are {of!r}")
            shapes = tuple(self.shape(operand) for operand in of)
            made = KINDS[kind]
            wrong = [operand for operand in of if self.levels(operand) != made.of_levels]
            if wrong:
                raise ValueError(f"operand {wrong[0]} is {_SORTS[not made.of_levels]}")
            operation = made(arguments, shapes, self.weights, self.inputs)
        except ValueError as error:
            raise ValueError(f"operation {number} ({kind!r}): {error}") from None
        self.operations.append(operation)
        self.of.append(tuple(of))
        return number

    def shape(self, operand: Any) -> Shape:
        """Return the shape of an operand.

        Raises
        ------
        ValueError
            If there is no such value yet, or no such array.
        """
        if isinstance(operand, str):
            return self.weights.get(operand, np.float32).shape
        number = whole("an operand", operand, NUMERIC, FIRST + len(self.operations) - 1)
        if number == NUMERIC:
            return BATCH, len(self.inputs.numeric)
        return self.operations[number - FIRST].shape

    def levels(self, operand: Operand) -> bool:
        """Return whether an operand is levels; see `shape` for what there is."""
        computed = isinstance(operand, int) and operand >= FIRST
        return computed and self.operations[int(operand) - FIRST].levels

    def layers(self) -> dict[str, str]:
        """Return the precision of each quantised layer, "int8" or "binary", by name."""
        return {name: kind for one in self.operations for name, kind in one.layers().items()}

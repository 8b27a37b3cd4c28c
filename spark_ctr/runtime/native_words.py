"""Programs as the native kernels read them: whole numbers, in the order of ``read.c``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import IntEnum

import numpy as np

from spark_ctr.runtime.native_memory import Room
from spark_ctr.tables import Inputs

_FORMAT = 2


class Sort(IntEnum):
    """What a value is made of."""

    NUMBERS = 0
    LEVELS = 1
    SIGNS = 2
    CONSTANT = 3


class Kind(IntEnum):
    """What an operation does."""

    EMBED = 0
    LAYER = 1
    QUANTISE = 2
    SIGNS = 3
    RELU = 4
    PAIR = 5
    SUM = 6
    COPY = 7
    TAKE = 8


class Finish(IntEnum):
    """What becomes of the sums of a layer."""

    NUMBERS = 0
    RELU = 1
    LEVELS = 2
    SIGNS = 3


def strides_of(shape: Sequence[int]) -> list[int]:
    """Return the elements from one position of an axis to the next, in row-major order."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def axes_of(lengths: Sequence[int], a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Return a loop over two arrays; axes that lie alike in both become one."""
    axes: list[tuple[int, int, int]] = []
    for length, x, y in zip(lengths, a, b, strict=True):
        if length == 1:
            continue
        if axes and (axes[-1][1], axes[-1][2]) == (x * length, y * length):
            axes[-1] = axes[-1][0] * length, x, y
        else:
            axes.append((length, x, y))
    axes = axes or [(1, 1, 1)]
    return [len(axes), *(number for axis in axes for number in axis)]


class Words:
    """A program that grows operation by operation.

    Parameters
    ----------
    inputs : Inputs
    tasks : int

    Attributes
    ----------
    arrays : list of ndarray
        What the words name by position.
    """

    def __init__(self, inputs: Inputs, tasks: int) -> None:
        self.arrays: list[np.ndarray] = []
        self._inputs, self._tasks = inputs, tasks
        self._values: list[tuple[Sort, int, int]] = [(Sort.NUMBERS, len(inputs.numeric), 0)]
        self._operations: list[list[int]] = []
        # Of each value the operations that write and read it.
        self._touched: list[list[int]] = [[]]
        self._array_numbers: dict[int, int] = {}

    def array(self, array: np.ndarray) -> int:
        """Return the number of an array; its memory is used as it is where that will do."""
        if id(array) not in self._array_numbers:
            usable = np.require(array, requirements=["C", "A"])
            self._array_numbers[id(array)] = len(self.arrays)
            # The array itself is kept too, so that its id stays its own.
            self.arrays += [usable, array]
        return self._array_numbers[id(array)]

    def value(self, sort: Sort, elements: int) -> int:
        """Return the number of a new value with so many elements a row."""
        self._values.append((sort, elements, 0))
        self._touched.append([])
        return len(self._values) - 1

    def constant(self, array: np.ndarray) -> int:
        """Return the number of a value that is the same for all rows."""
        self._values.append((Sort.CONSTANT, array.size, self.array(array)))
        self._touched.append([])
        return len(self._values) - 1

    def add(self, kind: Kind, words: Iterable[int], values: Iterable[int]) -> None:
        """Add an operation that reads and writes some values."""
        for value in values:
            self._touched[value].append(len(self._operations))
        self._operations.append([int(kind), *map(int, words)])

    def words(self, logits: int) -> list[int]:
        """Return the whole program."""
        self._touched[logits].append(len(self._operations))
        tables = self._inputs.tables
        words = [_FORMAT, len(tables), sum(table.slots for table in tables)]
        for table in tables:
            mean = table.pooling == "mean"
            words += [table.rows, table.slots, table.signed, table.padded, mean]
        words += [len(self._inputs.numeric), self._tasks, len(self._values) - 1]
        offsets = self._offsets()
        for number, (sort, elements, array) in enumerate(self._values[1:], start=1):
            words += [sort, elements, array if sort == Sort.CONSTANT else offsets[number]]
        words.append(len(self._operations))
        for operation in self._operations:
            words += operation
        return [*map(int, words), logits]

    def _offsets(self) -> dict[int, int]:
        """Return where each value lies."""
        room, offsets = Room(), {}
        starts: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        sizes = {}
        for number, (sort, elements, _) in enumerate(self._values):
            if number and sort != Sort.CONSTANT:
                sizes[number] = Room.size(elements, 1 if sort == Sort.LEVELS else 4)
                starts.setdefault(self._touched[number][0], []).append(number)
                ends.setdefault(self._touched[number][-1], []).append(number)
        for operation in range(len(self._operations) + 1):
            for number in starts.get(operation, ()):
                offsets[number] = room.take(sizes[number])
            for number in ends.get(operation, ()):
                room.give_back(sizes[number], offsets[number])
        return offsets

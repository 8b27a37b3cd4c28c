"""Plans as the native kernels read them: whole numbers, in the order of ``read.c``."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np

from spark_ctr.kernels.index8 import offset_of
from spark_ctr.runtime import plan as p
from spark_ctr.runtime.memory import places
from spark_ctr.runtime.stacked_rows import StackedRows
from spark_ctr.tables import Inputs

_FORMAT = 2
# What `simd.h` and `memory.h` have: elements behind each row that kernels may write, and a line.
_SLACK, _LINE = 32, 64


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


def native_words(plan: p.Plan, inputs: Inputs, tasks: int) -> tuple[list[int], list[np.ndarray]]:
    """Return a plan as `spark_ctr.kernels.native.library.NativeProgram` takes it.

    Parameters
    ----------
    plan : Plan
    inputs : Inputs
    tasks : int
        Logits of a row.

    Returns
    -------
    words : list of int
    arrays : list of ndarray
        Those of tables are the program's own.
    """
    return _Words(plan, inputs, tasks).words()


class _Words:
    def __init__(self, plan: p.Plan, inputs: Inputs, tasks: int) -> None:
        self._plan, self._inputs, self._tasks = plan, inputs, tasks
        self._arrays: list[np.ndarray] = []
        self._array_numbers: dict[int, int] = {}
        self._maps: dict[tuple[float, float], int] = {}

    def words(self) -> tuple[list[int], list[np.ndarray]]:
        writers: dict[type, Callable[[Any], list[int]]] = {
            p.Embed: self._embed,
            p.Layer: self._layer,
            p.Quantise: self._quantise,
            p.Signs: self._signs,
            p.Relu: self._relu,
            p.Pair: self._pair,
            p.Sum: self._sum,
            p.Copy: self._copy,
            p.Take: self._take,
        }
        tables, values = self._inputs.tables, self._plan.values
        words = [_FORMAT, len(tables), sum(table.slots for table in tables)]
        for table in tables:
            mean = table.pooling == "mean"
            words += [table.rows, table.slots, table.signed, table.padded, mean]
        words += [len(self._inputs.numeric), self._tasks, len(values) - 1]
        offsets, _ = places(self._plan, self._size)
        for number, value in enumerate(values[1:], start=1):
            constant = value.constant
            place = offsets[number] if constant is None else self._array(constant)
            words += [value.sort, self._elements(number), place]
        words.append(len(self._plan.steps))
        for step in self._plan.steps:
            words += writers[type(step)](step)
        return [*map(int, words), self._plan.logits], self._arrays

    def _array(self, array: np.ndarray) -> int:
        """Return the number of an array; its memory is used as it is where that will do."""
        if id(array) not in self._array_numbers:
            usable = np.require(array, requirements=["C", "A"])
            self._array_numbers[id(array)] = len(self._arrays)
            # The array itself is kept too, so that its id stays its own.
            self._arrays += [usable, array]
        return self._array_numbers[id(array)]

    def _elements(self, number: int) -> int:
        """Return the elements of a row of a value, of signs the words of 32."""
        value = self._plan.values[number]
        signs = value.sort == p.Sort.SIGNS
        return value.groups * (-(-value.count // 32) if signs else value.count)

    def _size(self, number: int) -> int:
        """Return the bytes that a row of a value takes."""
        element_bytes = 1 if self._plan.values[number].sort == p.Sort.LEVELS else 4
        return -(-(self._elements(number) + _SLACK) * element_bytes // _LINE) * _LINE

    def _levels(self, levels: p.Levels) -> list[int]:
        return [levels.zero, len(levels.inverse) == 1, self._array(levels.inverse)]

    def _embed(self, step: p.Embed) -> list[int]:
        width = self._plan.values[step.result].count
        words = [Kind.EMBED, step.levels is not None, width, step.result]
        words += [] if step.levels is None else self._levels(step.levels)
        words.append(len(step.columns))
        for column in step.columns:
            words += [column.column, column.rows.dim, column.at, self._map(column)]
            words += self._rows(column.rows, column.block)
        return words

    def _map(self, column: p.EmbedColumn) -> int:
        key = float(column.scale), float(column.minimum)
        if key not in self._maps:
            scale, offset = column.scale, offset_of(column.scale, column.minimum)
            self._maps[key] = self._array(np.array([scale, offset], np.float32))
        return self._maps[key]

    def _rows(self, rows: StackedRows, block: int) -> list[int]:
        """Return the words of the rows of a block: those of 4 bits, and those of 8."""
        coarse, words = rows.coarse[block], [0]
        if coarse.rows:
            assert rows.nibbles is not None
            words = [1, coarse.first, coarse.last, len(rows.nibbles)]
            words += [rows.coarse_starts[block], self._array(rows.nibbles)]
        return [*words, len(rows.index), rows.starts[block], self._array(rows.index)]

    def _layer(self, step: p.Layer) -> list[int]:
        x, outputs = self._plan.values[step.x], self._plan.values[step.result].count
        words = [Kind.LAYER, step.binary, step.finish, x.groups, x.count, outputs]
        words += [step.x, step.result]
        words += map(self._array, (step.weight, step.scale, step.bias))
        if not step.binary:
            words.append(step.zero)
        if step.levels is not None:
            words += [step.rectified, *self._levels(step.levels)]
        return words

    def _quantise(self, step: p.Quantise) -> list[int]:
        result = self._plan.values[step.result]
        words = [Kind.QUANTISE, result.groups, result.count, step.count, step.at]
        return [*words, step.x, step.result, *self._levels(step.levels)]

    def _signs(self, step: p.Signs) -> list[int]:
        result = self._plan.values[step.result]
        return [Kind.SIGNS, result.groups, result.count, step.x, step.result]

    def _relu(self, step: p.Relu) -> list[int]:
        return [Kind.RELU, self._elements(step.result), step.x, step.result]

    def _axes(self, axes: p.Axes) -> list[int]:
        loops = zip(axes.lengths, axes.a, axes.b, strict=True)
        return [len(axes.lengths), *(number for loop in loops for number in loop)]

    def _pair(self, step: p.Pair) -> list[int]:
        return [Kind.PAIR, step.pairing, *self._axes(step.axes), step.a, step.b, step.result]

    def _sum(self, step: p.Sum) -> list[int]:
        return [Kind.SUM, step.outer, step.count, step.inner, step.x, step.result]

    def _copy(self, step: p.Copy) -> list[int]:
        return [Kind.COPY, step.start, step.to, *self._axes(step.axes), step.x, step.result]

    def _take(self, step: p.Take) -> list[int]:
        words = [Kind.TAKE, step.outer, step.length, step.inner, len(step.positions)]
        return [*words, step.x, step.result, *step.positions]

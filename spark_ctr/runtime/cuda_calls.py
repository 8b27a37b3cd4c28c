"""Plans as launches of CUDA kernels.

The number of rows and where values lie are known only when a launch is made, so its arguments may
be stand-ins for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from spark_ctr.kernels import cuda
from spark_ctr.runtime import plan as p
from spark_ctr.runtime.cuda_columns import by_layer, prepared_columns
from spark_ctr.runtime.cuda_launch import FIRST_BAD, IDS, Argument, At, Call, Rows
from spark_ctr.runtime.cuda_student import student_call
from spark_ctr.runtime.cuda_weights import layer_arrays
from spark_ctr.runtime.planner import NotNative
from spark_ctr.runtime.stacked_rows import StackedRows
from spark_ctr.tables import Inputs


def row_bytes(value: p.Value) -> int:
    """Return the bytes that a row of a value takes on a device, in whole words."""
    if value.sort == p.Sort.SIGNS:
        return 4 * value.groups * cuda.row_words(value.count)
    if value.sort == p.Sort.LEVELS:
        return 4 * value.groups * cuda.level_row_words(value.count)
    return 4 * value.elements


def calls_of(
    plan: p.Plan, inputs: Inputs, upload: Callable[[np.ndarray], int], *, fused: bool = True
) -> list[Call]:
    """Return the launches of a plan.

    Parameters
    ----------
    plan : Plan
    inputs : Inputs
    upload : callable
        Copies an array to the device and returns its address.
    fused : bool
        Whether a student is one launch where that can be; else steps have one or more each.

    Raises
    ------
    NotNative
        If the kernels do not take a layer or a look-up; the message says why.
    """
    try:
        student = student_call(plan, inputs, upload) if fused else None
        return _Calls(plan, inputs, upload).calls() if student is None else [student]
    except ValueError as error:
        raise NotNative(str(error)) from None


class _Calls:
    def __init__(self, plan: p.Plan, inputs: Inputs, upload: Callable[[np.ndarray], int]) -> None:
        self._plan, self._inputs, self._upload = plan, inputs, upload
        self._made: list[Call] = []
        # Tables and constants that several steps read; the array is kept so that its id stays its.
        self._known: dict[int, tuple[np.ndarray, int]] = {}
        self._slots = inputs.ids_width

    def calls(self) -> list[Call]:
        # Not an attribute: a cycle would hold the device's memory until garbage is collected.
        writers: dict[type, Callable[[Any], None]] = {
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
        if self._slots:
            self._check_ids()
        for step in self._plan.steps:
            writers[type(step)](step)
        return self._made

    def _add(
        self,
        source: str,
        kernel: str,
        blocks: Callable[[int], int],
        arguments: Iterable[Argument],
    ) -> None:
        self._made.append(Call(source, kernel, blocks, tuple(arguments)))

    def _element_by_element(self, kernel: str, elements: int, *arguments: Argument) -> None:
        def blocks(rows: int) -> int:
            return cuda.element_blocks(rows, elements)

        self._add("elements", kernel, blocks, arguments)

    def _value(self, number: int) -> p.Value:
        return self._plan.values[number]

    def _shared(self, array: np.ndarray) -> int:
        """Return the address of an array that is uploaded once."""
        if id(array) not in self._known:
            self._known[id(array)] = array, self._upload(array)
        return self._known[id(array)][1]

    def _operand(self, number: int) -> tuple[Argument, np.int64]:
        """Return where numbers are, and the elements from row to row."""
        value = self._value(number)
        if value.constant is not None:
            return self._shared(value.constant), np.int64(0)
        return At(number), np.int64(value.elements)

    def _levels(self, levels: p.Levels, width: int) -> list[Argument]:
        """Return the steps of a width, and the zero."""
        return [self._upload(cuda.level_inverse(levels.inverse, width)), np.int32(levels.zero)]

    def _check_ids(self) -> None:
        ranges, slots = cuda.id_ranges(self._inputs.tables), self._slots
        limits = map(self._upload, (ranges.lowest, ranges.counts, ranges.padded))
        arguments: list[Argument] = [At(IDS), np.int32(slots), *limits, Rows(), At(FIRST_BAD)]
        self._element_by_element("check_ids", slots, *arguments)

    def _embed(self, step: p.Embed) -> None:
        for columns in by_layer(step.columns):
            self._look_up(step, columns, columns[0].rows)

    def _look_up(self, step: p.Embed, columns: list[p.EmbedColumn], stacked: StackedRows) -> None:
        """Add the look-up of the columns of one layer."""
        ids, width, nibbles = self._slots, self._value(step.result).count, stacked.nibbles
        prepared = prepared_columns(columns, self._inputs, width)
        arguments: list[Argument] = [At(IDS), np.int32(ids), self._upload(prepared)]
        arguments += map(np.int32, (len(columns), stacked.dim))
        arguments += [self._shared(stacked.index)]
        arguments += [0 if nibbles is None else self._shared(nibbles), Rows(), np.int32(width)]
        kernel = "embedding_float32"
        if step.levels is not None:
            kernel = "embedding_levels"
            arguments += self._levels(step.levels, width)
        self._add("embedding", kernel, cuda.warp_blocks, [*arguments, At(step.result)])

    def _layer(self, step: p.Layer) -> None:
        x, outputs = self._value(step.x), self._value(step.result).count
        kind = "binary_linear" if step.binary else "integer_linear"
        arguments: list[Argument] = [At(step.x), *map(self._upload, layer_arrays(step, x.count))]
        arguments += [Rows(x.groups), np.int32(x.count), np.int32(outputs)]
        finish = "signs"
        if step.finish != p.Finish.SIGNS:
            finish = "float32"
            arguments.append(np.int32(step.rectified or step.finish == p.Finish.RELU))
        if step.levels is not None:
            finish = "levels"
            arguments += self._levels(step.levels, outputs)

        def blocks(rows: int) -> int:
            return cuda.linear_blocks(rows * x.groups, outputs)

        self._add(kind, f"{kind}_{finish}", blocks, [*arguments, At(step.result)])

    def _by_warps(self, source: str, kernel: str, groups: int, *arguments: Argument) -> None:
        """Add a kernel that has a warp for each group of each row."""
        self._add(source, kernel, lambda rows: cuda.warp_blocks(rows * groups), arguments)

    def _quantise(self, step: p.Quantise) -> None:
        result = self._value(step.result)
        arguments: list[Argument] = [At(step.x), np.int32(step.count), Rows(result.groups)]
        arguments += map(np.int32, (step.at, result.count))
        arguments += self._levels(step.levels, result.count)
        arguments.append(At(step.result))
        self._by_warps("elements", "quantise_levels", result.groups, *arguments)

    def _signs(self, step: p.Signs) -> None:
        result = self._value(step.result)
        arguments = (At(step.x), Rows(result.groups), np.int32(result.count), At(step.result))
        self._by_warps("pack_signs", "pack_signs_float32", result.groups, *arguments)

    def _relu(self, step: p.Relu) -> None:
        size = self._value(step.result).elements
        self._element_by_element("relu_float32", size, At(step.x), Rows(size), At(step.result))

    def _pair(self, step: p.Pair) -> None:
        axes = cuda.pair_axes(
            *(step.axes.lengths, step.axes.a, step.axes.b),
            a_elements=self._value(step.a).elements,
            b_elements=self._value(step.b).elements,
        )
        operands = (*self._operand(step.a), *self._operand(step.b))
        arguments = (np.int32(step.pairing), *operands, self._upload(axes), Rows())
        size = self._value(step.result).elements
        self._element_by_element("pair_float32", size, *arguments, At(step.result))

    def _sum(self, step: p.Sum) -> None:
        size = self._value(step.result).elements
        around = map(np.int32, (step.outer, step.count, step.inner))
        arguments = (*self._operand(step.x), *around, Rows(), At(step.result))

        def blocks(rows: int) -> int:
            return cuda.sum_blocks(rows, size)

        self._add("elements", "sum_float32", blocks, arguments)

    def _copy(self, step: p.Copy) -> None:
        result = self._value(step.result)
        axes = cuda.copy_axes(
            *(step.axes.lengths, step.axes.a, step.axes.b),
            a_elements=self._value(step.x).elements,
            b_elements=result.elements,
            a_first=step.start,
            b_first=step.to,
        )
        to = At(step.result), np.int64(result.elements)
        arguments = (*self._operand(step.x), self._upload(axes), Rows(), *to)
        self._element_by_element("copy_float32", int(axes["total"][0]), *arguments)

    def _take(self, step: p.Take) -> None:
        positions = self._upload(cuda.take_positions(step.positions, step.length))
        around = map(np.int32, (step.outer, step.length, step.inner))
        arguments = (*self._operand(step.x), *around, positions, np.int32(len(step.positions)))
        size = self._value(step.result).elements
        self._element_by_element("take_float32", size, *arguments, Rows(), At(step.result))

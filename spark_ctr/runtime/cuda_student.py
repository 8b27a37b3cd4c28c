"""Plans that one kernel computes: columns and numbers to levels, then layers in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spark_ctr.kernels import cuda
from spark_ctr.kernels.cuda import StudentFinish
from spark_ctr.runtime.cuda_columns import by_layer, prepared_columns
from spark_ctr.runtime.cuda_launch import FIRST_BAD, IDS, At, Call, Rows
from spark_ctr.runtime.cuda_weights import layer_arrays
from spark_ctr.runtime.plan import NUMERIC_VALUE, Embed, Finish, Layer, Levels, Plan, Quantise
from spark_ctr.tables import Inputs

Upload = Callable[[np.ndarray], int]

_FINISHES = {
    Finish.NUMBERS: StudentFinish.FLOAT32,
    Finish.RELU: StudentFinish.FLOAT32,
    Finish.LEVELS: StudentFinish.LEVELS,
    Finish.SIGNS: StudentFinish.SIGNS,
}


def student_call(plan: Plan, inputs: Inputs, upload: Upload) -> Call | None:
    """Return the only launch of a plan, or None where it takes several.

    Parameters
    ----------
    plan : Plan
    inputs : Inputs
    upload : callable
        Copies an array to the device and returns its address.

    Raises
    ------
    ValueError
        If the kernel does not take a layer or a look-up.
    """
    student = _student_of(plan)
    if student is None:
        return None
    bits = [8 * student.width] + [_bits_made(plan, layer) for layer in student.layers[:-1]]
    second, shared = cuda.student_memory(bits)
    if shared > cuda.MOST_SHARED:
        return None
    ranges = cuda.id_ranges(inputs.tables)
    columns = _columns(student, inputs, upload)
    sources = cuda.level_sources(
        zip(columns["column"]["at"].tolist(), columns["dim"].tolist(), strict=True),
        [(step.at, step.count) for step in student.numbers],
        student.width,
    )
    layers = cuda.student_layers([_layer(plan, step, upload) for step in student.layers])
    table = np.zeros(1, cuda.STUDENT)
    table[0] = (
        *map(upload, (ranges.lowest, ranges.counts, ranges.padded, columns, sources)),
        *(upload(cuda.level_inverse(student.levels.inverse, student.width)), upload(layers)),
        *(inputs.ids_width, len(inputs.numeric), student.width, student.levels.zero),
        *(len(layers), second),
    )
    places = At(IDS), At(NUMERIC_VALUE), Rows(), At(FIRST_BAD), At(plan.logits)
    arguments = (upload(table), *places)
    return Call("student", "student_float32", cuda.student_blocks, arguments, shared)


@dataclass(frozen=True)
class _Student:
    """The steps of a plan by what they do, and the levels between them."""

    columns: list[Embed]
    numbers: list[Quantise]
    layers: list[Layer]
    levels: Levels
    width: int


def _student_of(plan: Plan) -> _Student | None:
    """Return the steps of a plan that is nothing but a student."""
    columns = [step for step in plan.steps if isinstance(step, Embed)]
    numbers = [step for step in plan.steps if isinstance(step, Quantise)]
    inputs: list[Embed | Quantise] = [*columns, *numbers]
    layers = [step for step in plan.steps if isinstance(step, Layer)]
    if not inputs or not layers or len(inputs) + len(layers) < len(plan.steps):
        return None
    levels, value = inputs[0].levels, plan.values[inputs[0].result]
    if levels is None or any(step.levels is not levels for step in inputs):
        return None
    # Layers that have groups take a launch each.
    chain = [inputs[0].result, *(layer.result for layer in layers)]
    if any(plan.values[number].groups != 1 for number in chain):
        return None
    alone = (
        all(step.result == chain[0] for step in inputs)
        and all(step.x == NUMERIC_VALUE for step in numbers)
        and [layer.x for layer in layers] == chain[:-1]
        and chain[-1] == plan.logits
    )
    return _Student(columns, numbers, layers, levels, value.count) if alone else None


def _bits_made(plan: Plan, layer: Layer) -> int:
    """Return the bits of a row that a layer makes for the next one."""
    return (8 if layer.finish == Finish.LEVELS else 1) * plan.values[layer.result].count


def _columns(student: _Student, inputs: Inputs, upload: Upload) -> np.ndarray:
    """Return the columns of all layers of rows, whose rows are uploaded."""
    found = [np.zeros(0, cuda.LOOK_UP)]
    known: dict[int, int] = {}

    def shared(array: np.ndarray | None) -> int:
        if array is None:
            return 0
        if id(array) not in known:
            known[id(array)] = upload(array)
        return known[id(array)]

    for columns in by_layer(column for step in student.columns for column in step.columns):
        stacked, made = columns[0].rows, np.zeros(len(columns), cuda.LOOK_UP)
        made["column"] = prepared_columns(columns, inputs, student.width)
        made["index"], made["nibbles"] = shared(stacked.index), shared(stacked.nibbles)
        made["dim"] = stacked.dim
        found.append(made)
    return np.concatenate(found)


def _layer(plan: Plan, step: Layer, upload: Upload) -> cuda.StudentLayer:
    inputs, outputs = plan.values[step.x].count, plan.values[step.result].count
    weight, start, *around = map(upload, layer_arrays(step, inputs))
    scale, bias = around or (0, 0)
    inverse, zero = 0, 0
    if step.levels is not None:
        inverse, zero = upload(cuda.level_inverse(step.levels.inverse, outputs)), step.levels.zero
    return cuda.StudentLayer(
        step.binary,
        _FINISHES[step.finish],
        inputs,
        outputs,
        *(weight, start, scale, bias, inverse),
        relu=step.rectified or step.finish == Finish.RELU,
        zero=zero,
    )

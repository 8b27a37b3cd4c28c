"""Programs to plans for kernels: operations are joined where the bits stay the same.

- look-ups, the numbers beside them and `quantise`: no float32 values in between;
- a layer, its ReLU and `quantise`;
- a layer, its ReLU and the signs that a 1-bit layer reads of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from spark_ctr.runtime.embed import Embed
from spark_ctr.runtime.kinds import KINDS
from spark_ctr.runtime.operation import Operation
from spark_ctr.runtime.plan import (
    NUMERIC_VALUE,
    Axes,
    Copy,
    EmbedColumn,
    Finish,
    Layer,
    Levels,
    Pair,
    Pairing,
    Plan,
    Quantise,
    Relu,
    Signs,
    Sort,
    Sum,
    Take,
    Value,
    strides_of,
)
from spark_ctr.runtime.plan import Embed as EmbedStep
from spark_ctr.runtime.program import FIRST, NUMERIC, Operand, Program

_NAMES = {kind: name for name, kind in KINDS.items()}
_PAIRS = {"add": Pairing.ADD, "subtract": Pairing.SUBTRACT, "multiply": Pairing.MULTIPLY}
_LOGITS = -1  # the operation that reads the logits


class NotNative(Exception):
    """The program has what only NumPy computes; the message says what."""


def plan_of(program: Program) -> Plan:
    """Return the plan of a program.

    Raises
    ------
    NotNative
        If an operation is of a kind that kernels do not have.
    """
    return _Planner(program).plan()


class _Planner:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._plan = Plan()
        self._plan.add(Value(Sort.NUMBERS, 1, len(program.inputs.numeric)))
        self._kinds = [_NAMES[type(operation)] for operation in program.operations]
        self._users: dict[int, list[int]] = {}
        for i, of in enumerate(program.of):
            for operand in of:
                if isinstance(operand, int):
                    self._users.setdefault(operand, []).append(i)
        self._users.setdefault(self._last, []).append(_LOGITS)
        # Values of the plan by the number of the program's value.
        self._numbers: dict[int, int] = {NUMERIC: NUMERIC_VALUE}
        self._levels: dict[int, int] = {}
        self._signs: dict[int, int] = {}
        self._constants: dict[str, int] = {}
        self._joined: set[int] = set()

    @property
    def _last(self) -> int:
        return FIRST + len(self._kinds) - 1

    def plan(self) -> Plan:
        writers: dict[str, Callable[[int], None]] = {
            "embed": self._embed,
            "integer_linear": self._layer,
            "binary_linear": self._layer,
            "quantise": self._quantise,
            "relu": self._relu,
            "add": self._pair,
            "subtract": self._pair,
            "multiply": self._pair,
            "sum": self._sum,
            "concat": self._concat,
            "reshape": self._reshape,
            "slice": self._slice,
            "transpose": self._transpose,
            "take": self._take,
        }
        missing = sorted(set(self._kinds) - set(writers))
        if missing:
            raise NotNative(f"operations {', '.join(missing)}")
        for i, kind in enumerate(self._kinds):
            if FIRST + i not in self._joined:
                writers[kind](i)
        self._plan.logits = self._numbers[self._last]
        return self._plan

    # What surrounds an operation.

    def _operation(self, i: int) -> Operation:
        return self._program.operations[i]

    def _parts(self, operand: Operand) -> tuple[int, ...]:
        """Return the shape of a value without its rows."""
        return self._program.shape(operand)[1:]

    def _only_user(self, value: int) -> int | None:
        users = self._users.get(value, [])
        return users[0] if len(users) == 1 and users[0] != _LOGITS else None

    def _only_user_of_kind(self, value: int, kind: str) -> int | None:
        user = self._only_user(value)
        return user if user is not None and self._kinds[user] == kind else None

    def _made_by(self, value: int, kind: str) -> bool:
        return value >= FIRST and self._kinds[value - FIRST] == kind

    def _value(self, sort: Sort, shape: Sequence[int]) -> int:
        """Return a new value whose rows have a shape; layers read and write its last axis."""
        *groups, count = shape or (1,)
        return self._plan.add(Value(sort, math.prod(groups), count))

    def _new(self, i: int) -> int:
        """Return a new value of numbers, that of an operation."""
        value = self._value(Sort.NUMBERS, self._operation(i).shape[1:])
        self._numbers[FIRST + i] = value
        return value

    def _operand(self, i: int, position: int = 0) -> int:
        operand = self._program.of[i][position]
        if isinstance(operand, int):
            return self._numbers[operand]
        if operand not in self._constants:
            array = self._program.weights.get(operand, np.float32)
            value = Value(Sort.CONSTANT, 1, array.size, array)
            self._constants[operand] = self._plan.add(value)
        return self._constants[operand]

    def _value_of(self, i: int, position: int = 0) -> int:
        """Return the number of an operand that has rows."""
        operand = self._program.of[i][position]
        assert isinstance(operand, int)
        return operand

    # Look-ups and levels.

    def _embed(self, i: int) -> None:
        if not self._is_quantised(FIRST + i):
            self._look_up(i, self._new(i), 0, None)

    def _is_quantised(self, value: int) -> bool:
        """Return whether a value [B, n] is read by `quantise` alone, next to others perhaps."""
        user = self._only_user_of_kind(value, "concat")
        if user is not None and self._is_last_axis(user):
            value = FIRST + user
        return self._only_user_of_kind(value, "quantise") is not None

    def _is_last_axis(self, concat: int) -> bool:
        operation = self._operation(concat)
        return bool(operation.arguments["axis"] == len(operation.shape) - 1)

    def _look_up(self, i: int, value: int, at: int, levels: Levels | None) -> None:
        """Add the look-up of an operation whose columns go to a value from an element on."""
        operation = self._operation(i)
        assert isinstance(operation, Embed)
        columns, layers = operation.arguments["columns"], operation.arguments["layers"]
        found = []
        for column, layer in zip(columns, layers, strict=True):
            part = operation.parts[layer]
            block = part.blocks[part.columns.index(column)]
            scale, minimum = part.scale[block], part.minimum[block]
            found.append(EmbedColumn(column, at, scale, minimum, part.rows, block))
            at += part.rows.dim
        self._plan.steps.append(EmbedStep(tuple(found), levels, value))

    def _levels_of(self, quantise: int) -> Levels:
        operation = self._operation(quantise)
        inverse = self._program.weights.get(f"{operation.name('layer')}.inverse", np.float32, None)
        return Levels(operation.arguments["zero"], inverse)

    def _quantise(self, i: int) -> None:
        source = self._value_of(i)
        self._levels[FIRST + i] = value = self._value(Sort.LEVELS, self._operation(i).shape[1:])
        parts = [source]
        if self._made_by(source, "concat") and self._is_quantised_concat(source - FIRST):
            parts = [self._value_of(source - FIRST, j) for j in self._positions(source - FIRST)]
        at, levels = 0, self._levels_of(i)
        for part in parts:
            count = self._parts(part)[-1]
            if self._made_by(part, "embed") and part not in self._numbers:
                self._look_up(part - FIRST, value, at, levels)
            else:
                self._plan.steps.append(Quantise(count, at, levels, self._numbers[part], value))
            at += count

    def _positions(self, i: int) -> range:
        return range(len(self._program.of[i]))

    def _is_quantised_concat(self, concat: int) -> bool:
        user = self._only_user_of_kind(FIRST + concat, "quantise")
        return user is not None and self._is_last_axis(concat)

    # Layers.

    def _layer(self, i: int) -> None:
        operation, source = self._operation(i), self._value_of(i)
        binary = self._kinds[i] == "binary_linear"
        outputs, name = operation.shape[-1], operation.name("layer")
        x = self._signs_of(source) if binary else self._levels[source]
        finish, rectified, levels, result = self._finish(i)
        weight = ("signs", np.uint8) if binary else ("index", np.int8)
        get = self._program.weights.get
        layer = Layer(
            binary,
            finish,
            rectified,
            weight=get(f"{name}.{weight[0]}", weight[1], outputs, None),
            scale=get(f"{name}.scale", np.float32, outputs),
            bias=get(f"{name}.bias", np.float32, outputs),
            zero=0 if binary else operation.arguments["zero"],
            levels=levels,
            x=x,
            result=result,
        )
        self._plan.steps.append(layer)

    def _finish(self, i: int) -> tuple[Finish, bool, Levels | None, int]:
        """Return what becomes of the sums of a layer, and the value that holds it."""
        last, shape = FIRST + i, self._operation(i).shape[1:]
        relu = self._only_user_of_kind(last, "relu")
        if relu is not None:
            last = FIRST + relu
            self._joined.add(last)
        quantise = self._only_user_of_kind(last, "quantise")
        if quantise is not None:
            self._joined.add(FIRST + quantise)
            self._levels[FIRST + quantise] = result = self._value(Sort.LEVELS, shape)
            return Finish.LEVELS, relu is not None, self._levels_of(quantise), result
        users = self._users[last]
        if all(user != _LOGITS and self._kinds[user] == "binary_linear" for user in users):
            self._signs[last] = result = self._value(Sort.SIGNS, shape)
            return Finish.SIGNS, False, None, result
        self._numbers[last] = result = self._value(Sort.NUMBERS, shape)
        return Finish.NUMBERS if relu is None else Finish.RELU, False, None, result

    def _signs_of(self, value: int) -> int:
        """Return the signs of a value, worked out once."""
        if value not in self._signs:
            self._signs[value] = signs = self._value(Sort.SIGNS, self._parts(value))
            self._plan.steps.append(Signs(self._numbers[value], signs))
        return self._signs[value]

    # Arithmetic.

    def _relu(self, i: int) -> None:
        self._plan.steps.append(Relu(self._operand(i), self._new(i)))

    def _pair(self, i: int) -> None:
        lengths = self._operation(i).shape[1:]
        a, b, result = self._operand(i, 0), self._operand(i, 1), self._new(i)
        strides = [self._broadcast(operand, lengths) for operand in self._program.of[i]]
        pairing, axes = _PAIRS[self._kinds[i]], Axes.of(lengths, *strides)
        self._plan.steps.append(Pair(pairing, axes, a, b, result))

    def _broadcast(self, operand: Operand, lengths: tuple[int, ...]) -> list[int]:
        """Return the strides of an operand along the axes of the result; 0 where it repeats."""
        shape = self._program.shape(operand)
        # A constant may have an axis of length 1 for the rows.
        parts = shape[1:] if isinstance(operand, int) else shape[-len(lengths) or len(shape) :]
        parts = (1,) * (len(lengths) - len(parts)) + parts
        pairs = zip(strides_of(parts), parts, strict=True)
        return [0 if length == 1 else stride for stride, length in pairs]

    def _sum(self, i: int) -> None:
        around = self._around(i)
        self._plan.steps.append(Sum(*around, self._operand(i), self._new(i)))

    def _around(self, i: int) -> tuple[int, int, int]:
        """Return the elements before an axis of an operand, of the axis, and behind it."""
        shape, axis = self._parts(self._value_of(i)), self._operation(i).arguments["axis"] - 1
        return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])

    # Arrangement.

    def _concat(self, i: int) -> None:
        if self._is_quantised_concat(i):
            return
        operation = self._operation(i)
        axis, result = operation.arguments["axis"] - 1, self._new(i)
        strides, to = strides_of(operation.shape[1:]), 0
        for position in self._positions(i):
            shape = self._parts(self._value_of(i, position))
            x = self._operand(i, position)
            axes = Axes.of(shape, strides_of(shape), strides)
            self._plan.steps.append(Copy(0, to, axes, x, result))
            to += shape[axis] * strides[axis]

    def _reshape(self, i: int) -> None:
        self._numbers[FIRST + i] = self._operand(i)

    def _slice(self, i: int) -> None:
        operation = self._operation(i)
        strides = strides_of(self._parts(self._value_of(i)))
        start = operation.arguments["start"] * strides[operation.arguments["axis"] - 1]
        self._rearranged(i, start, strides)

    def _transpose(self, i: int) -> None:
        strides = strides_of(self._parts(self._value_of(i)))
        self._rearranged(i, 0, [strides[a - 1] for a in self._operation(i).arguments["axes"][1:]])

    def _rearranged(self, i: int, start: int, strides: list[int]) -> None:
        lengths = self._operation(i).shape[1:]
        axes = Axes.of(lengths, strides, strides_of(lengths))
        self._plan.steps.append(Copy(start, 0, axes, self._operand(i), self._new(i)))

    def _take(self, i: int) -> None:
        positions = tuple(self._operation(i).arguments["positions"])
        x, result = self._operand(i), self._new(i)
        self._plan.steps.append(Take(*self._around(i), positions, x, result))

"""Programs for the native kernels: operations are joined where the bits stay the same.

- look-ups, the numbers beside them and `quantise`: no float32 values in between;
- a layer, its ReLU and `quantise`;
- a layer, its ReLU and the signs that a 1-bit layer reads of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from spark_ctr.kernels.index8 import offset_of
from spark_ctr.runtime.embed import Embed
from spark_ctr.runtime.kinds import KINDS
from spark_ctr.runtime.native_words import Finish, Kind, Sort, Words, axes_of, strides_of
from spark_ctr.runtime.operation import Operation
from spark_ctr.runtime.program import FIRST, NUMERIC, Operand, Program
from spark_ctr.runtime.stacked_rows import StackedRows

_NAMES = {kind: name for name, kind in KINDS.items()}
_PAIRS = {"add": 0, "subtract": 1, "multiply": 2}
_LAYERS = ("integer_linear", "binary_linear")
_LOGITS = -1  # the operation that reads the logits


class NotNative(Exception):
    """The program has what only NumPy computes; the message says what."""


def native_words(program: Program, tasks: int) -> tuple[list[int], list[np.ndarray]]:
    """Return a program as `spark_ctr.kernels.native.library.NativeProgram` takes it.

    Parameters
    ----------
    program : Program
    tasks : int
        Logits of a row.

    Returns
    -------
    words : list of int
    arrays : list of ndarray
        Those of tables are the program's own.

    Raises
    ------
    NotNative
        If an operation is of a kind that the kernels do not have.
    """
    return _Planner(program, tasks).plan()


class _Planner:
    def __init__(self, program: Program, tasks: int) -> None:
        self._program = program
        self._words = Words(program.inputs, tasks)
        self._kinds = [_NAMES[type(operation)] for operation in program.operations]
        self._users: dict[int, list[int]] = {}
        for i, of in enumerate(program.of):
            for operand in of:
                if isinstance(operand, int):
                    self._users.setdefault(operand, []).append(i)
        self._users.setdefault(self._last, []).append(_LOGITS)
        # Native values by the number of the program's value.
        self._numbers: dict[int, int] = {NUMERIC: 0}
        self._levels: dict[int, int] = {}
        self._signs: dict[int, int] = {}
        self._constants: dict[str, int] = {}
        self._joined: set[int] = set()
        self._writers: dict[str, Callable[[int], None]] = {
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

    @property
    def _last(self) -> int:
        return FIRST + len(self._kinds) - 1

    def plan(self) -> tuple[list[int], list[np.ndarray]]:
        missing = sorted(set(self._kinds) - set(self._writers))
        if missing:
            raise NotNative(f"operations {', '.join(missing)}")
        for i, kind in enumerate(self._kinds):
            if FIRST + i not in self._joined:
                self._writers[kind](i)
        return self._words.words(self._numbers[self._last]), self._words.arrays

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

    def _new(self, i: int) -> int:
        """Return a new value of numbers, that of an operation."""
        value = self._words.value(Sort.NUMBERS, math.prod(self._operation(i).shape[1:]))
        self._numbers[FIRST + i] = value
        return value

    def _operand(self, i: int, position: int = 0) -> int:
        operand = self._program.of[i][position]
        if isinstance(operand, int):
            return self._numbers[operand]
        if operand not in self._constants:
            array = self._program.weights.get(operand, np.float32)
            self._constants[operand] = self._words.constant(array)
        return self._constants[operand]

    def _value_of(self, i: int, position: int = 0) -> int:
        """Return the number of an operand that has rows."""
        operand = self._program.of[i][position]
        assert isinstance(operand, int)
        return operand

    # Look-ups and levels.

    def _embed(self, i: int) -> None:
        if not self._is_quantised(FIRST + i):
            width = self._operation(i).shape[1]
            value = self._new(i)
            self._look_up(i, value, 0, [0, width])

    def _is_quantised(self, value: int) -> bool:
        """Return whether a value [B, n] is read by `quantise` alone, next to others perhaps."""
        user = self._only_user_of_kind(value, "concat")
        if user is not None and self._is_last_axis(user):
            value = FIRST + user
        return self._only_user_of_kind(value, "quantise") is not None

    def _is_last_axis(self, concat: int) -> bool:
        operation = self._operation(concat)
        return bool(operation.arguments["axis"] == len(operation.shape) - 1)

    def _look_up(self, i: int, value: int, start: int, head: list[int]) -> None:
        """Add the look-up of an operation whose columns go to a value from an element on."""
        operation = self._operation(i)
        assert isinstance(operation, Embed)
        columns, layers = operation.arguments["columns"], operation.arguments["layers"]
        words = [*head[:1], head[1], value, *head[2:], len(columns)]
        maps: dict[tuple[str, int], np.ndarray] = {}
        at = start
        for column, layer in zip(columns, layers, strict=True):
            part = operation.parts[layer]
            block = part.blocks[part.columns.index(column)]
            if (layer, block) not in maps:
                scale, minimum = part.scale[block], part.minimum[block]
                maps[layer, block] = np.array([scale, offset_of(scale, minimum)], np.float32)
            pair = self._words.array(maps[layer, block])
            words += [column, part.rows.dim, at, pair, *self._rows(part.rows, block)]
            at += part.rows.dim
        self._words.add(Kind.EMBED, words, [value])

    def _rows(self, rows: StackedRows, block: int) -> list[int]:
        """Return the words of the rows of a block: those of 4 bits, and those of 8."""
        coarse, words = rows.coarse[block], [0]
        if coarse.rows:
            assert rows.nibbles is not None
            words = [1, coarse.first, coarse.last, len(rows.nibbles)]
            words += [rows.coarse_starts[block], self._words.array(rows.nibbles)]
        return [*words, len(rows.index), rows.starts[block], self._words.array(rows.index)]

    def _inverse(self, quantise: int) -> list[int]:
        """Return the words of the zero and the steps of an operation."""
        operation = self._operation(quantise)
        inverse = self._program.weights.get(f"{operation.name('layer')}.inverse", np.float32, None)
        return [operation.arguments["zero"], len(inverse) == 1, self._words.array(inverse)]

    def _quantise(self, i: int) -> None:
        shape, source = self._operation(i).shape, self._value_of(i)
        *groups, width = shape[1:]
        levels = self._words.value(Sort.LEVELS, math.prod(shape[1:]))
        self._levels[FIRST + i] = levels
        parts = [source]
        if self._made_by(source, "concat") and self._is_quantised_concat(source - FIRST):
            parts = [self._value_of(source - FIRST, j) for j in self._positions(source - FIRST)]
        at, inverse = 0, self._inverse(i)
        for part in parts:
            count = self._parts(part)[-1]
            if self._made_by(part, "embed") and part not in self._numbers:
                self._look_up(part - FIRST, levels, at, [1, width, *inverse])
            else:
                number = self._numbers[part]
                words = [math.prod(groups), width, count, at, number, levels, *inverse]
                self._words.add(Kind.QUANTISE, words, [number, levels])
            at += count

    def _positions(self, i: int) -> range:
        return range(len(self._program.of[i]))

    def _is_quantised_concat(self, concat: int) -> bool:
        user = self._only_user_of_kind(FIRST + concat, "quantise")
        return user is not None and self._is_last_axis(concat)

    # Layers.

    def _layer(self, i: int) -> None:
        operation, source = self._operation(i), self._value_of(i)
        *groups, inputs = self._parts(source)
        binary = self._kinds[i] == "binary_linear"
        outputs, name = operation.shape[-1], operation.name("layer")
        x = self._signs_of(source) if binary else self._levels[source]
        finish, result, tail = self._finish(i)
        weight = ("signs", np.uint8) if binary else ("index", np.int8)
        get = self._program.weights.get
        arrays = [get(f"{name}.{weight[0]}", weight[1], outputs, None)]
        arrays += [get(f"{name}.{part}", np.float32, outputs) for part in ("scale", "bias")]
        words = [binary, finish, math.prod(groups), inputs, outputs, x, result]
        words += map(self._words.array, arrays)
        if not binary:
            words.append(operation.arguments["zero"])
        self._words.add(Kind.LAYER, [*words, *tail], [x, result])

    def _finish(self, i: int) -> tuple[Finish, int, list[int]]:
        """Return what becomes of the sums of a layer, the value that holds it, and more words."""
        last, size = FIRST + i, math.prod(self._operation(i).shape[1:])
        relu = self._only_user_of_kind(last, "relu")
        if relu is not None:
            last = FIRST + relu
            self._joined.add(last)
        quantise = self._only_user_of_kind(last, "quantise")
        if quantise is not None:
            self._joined.add(FIRST + quantise)
            self._levels[FIRST + quantise] = result = self._words.value(Sort.LEVELS, size)
            return Finish.LEVELS, result, [relu is not None, *self._inverse(quantise)]
        users = self._users[last]
        if all(user != _LOGITS and self._kinds[user] == "binary_linear" for user in users):
            self._signs[last] = result = self._words.value(Sort.SIGNS, self._sign_words(last))
            return Finish.SIGNS, result, []
        self._numbers[last] = result = self._words.value(Sort.NUMBERS, size)
        return Finish.NUMBERS if relu is None else Finish.RELU, result, []

    def _sign_words(self, value: int) -> int:
        *groups, count = self._parts(value)
        return math.prod(groups) * -(-count // 32)

    def _signs_of(self, value: int) -> int:
        """Return the signs of a value, worked out once."""
        if value not in self._signs:
            *groups, count = self._parts(value)
            self._signs[value] = signs = self._words.value(Sort.SIGNS, self._sign_words(value))
            number = self._numbers[value]
            words = [math.prod(groups), count, number, signs]
            self._words.add(Kind.SIGNS, words, [number, signs])
        return self._signs[value]

    # Arithmetic.

    def _relu(self, i: int) -> None:
        x, result = self._operand(i), self._new(i)
        size = math.prod(self._operation(i).shape[1:])
        self._words.add(Kind.RELU, [size, x, result], [x, result])

    def _pair(self, i: int) -> None:
        lengths = self._operation(i).shape[1:]
        a, b, result = self._operand(i, 0), self._operand(i, 1), self._new(i)
        strides = [self._broadcast(operand, lengths) for operand in self._program.of[i]]
        words = [_PAIRS[self._kinds[i]], *axes_of(lengths, *strides), a, b, result]
        self._words.add(Kind.PAIR, words, [a, b, result])

    def _broadcast(self, operand: Operand, lengths: tuple[int, ...]) -> list[int]:
        """Return the strides of an operand along the axes of the result; 0 where it repeats."""
        shape = self._program.shape(operand)
        # A constant may have an axis of length 1 for the rows.
        parts = shape[1:] if isinstance(operand, int) else shape[-len(lengths) or len(shape) :]
        parts = (1,) * (len(lengths) - len(parts)) + parts
        pairs = zip(strides_of(parts), parts, strict=True)
        return [0 if length == 1 else stride for stride, length in pairs]

    def _sum(self, i: int) -> None:
        shape, axis = self._parts(self._value_of(i)), self._operation(i).arguments["axis"] - 1
        x, result = self._operand(i), self._new(i)
        words = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), x, result]
        self._words.add(Kind.SUM, words, [x, result])

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
            axes = axes_of(shape, strides_of(shape), strides)
            self._words.add(Kind.COPY, [0, to, *axes, x, result], [x, result])
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
        x, result = self._operand(i), self._new(i)
        words = [start, 0, *axes_of(lengths, strides, strides_of(lengths)), x, result]
        self._words.add(Kind.COPY, words, [x, result])

    def _take(self, i: int) -> None:
        operation = self._operation(i)
        shape, axis = self._parts(self._value_of(i)), operation.arguments["axis"] - 1
        positions = operation.arguments["positions"]
        x, result = self._operand(i), self._new(i)
        words = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]
        words += [len(positions), x, result, *positions]
        self._words.add(Kind.TAKE, words, [x, result])

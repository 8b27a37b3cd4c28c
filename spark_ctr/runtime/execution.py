"""Execution of a program: operations prepared once, then run for block after block of rows."""

from __future__ import annotations

import math

import numpy as np

from spark_ctr.runtime.embed import Embed
from spark_ctr.runtime.operation import Run
from spark_ctr.runtime.program import FIRST, IDS, NUMERIC, Operand, Program

# Rows computed at a time: their activations stay in the processor's cache.
_BLOCK = 1024
# Heights of matrix products are multiples of this, so BLAS sums every row in the same order.
_MULTIPLE = 64
# Elements of the widest value of a block.
_MOST = 1 << 26


class Execution:
    """A program ready to run.

    Weights are prepared here, so that a call only computes. Results are freed after their last
    use, and element by element operations overwrite an operand that nobody needs any more.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        count = FIRST + len(program.operations)
        self._template: list[np.ndarray | None] = [None] * count
        self._steps: list[tuple[Run, list[int], list[int]]] = []
        slots = self._slots(program)
        owners, last_use = _owners(program)
        last_of = {slot: i for i, of in enumerate(slots) for slot in of}
        for i, (operation, of) in enumerate(zip(program.operations, slots, strict=True)):
            results = [slot for slot in of if FIRST <= slot < count]
            free = [
                slot
                for slot in results
                if operation.elementwise
                and owners[slot] >= FIRST
                and last_use[owners[slot]] == i
                and program.shape(slot) == operation.shape
            ]
            into = of.index(free[0]) if free else None
            dead = [slot for slot in set(results) if last_of[slot] == i]
            self._steps.append((operation.prepare(into), of, dead))
        self._block = _height(program)
        self._inputs = program.inputs

    def __call__(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> None:
        """Compute ids [B, ids_width] and numbers [B, M] float32 into logits [B, T].

        Raises
        ------
        IndexError
            If an id lies outside its table.
        """
        ids = ids.astype(np.int64)
        self._inputs.id_range.check(ids)
        for start in range(0, len(ids), self._block):
            rows = slice(start, start + self._block)
            block = ids[rows], numeric[rows]
            padding = ((0, -len(block[0]) % _MULTIPLE), (0, 0))
            if padding[0][1]:
                block = np.pad(block[0], padding), np.pad(block[1], padding)
            logits[rows] = self._computed(*block)[: len(logits[rows])]

    def _computed(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        values = self._template.copy()
        values[IDS], values[NUMERIC] = ids, numeric
        result = numeric
        for number, (run, of, dead) in enumerate(self._steps, start=FIRST):
            result = values[number] = run(*[values[slot] for slot in of])
            for slot in dead:
                values[slot] = None
        return result

    def _slots(self, program: Program) -> list[list[int]]:
        """Return the slots of the operands of each operation; constants have slots of their own."""
        constants: dict[str, int] = {}

        def slot(operand: Operand) -> int:
            if isinstance(operand, int):
                return operand
            if operand not in constants:
                constants[operand] = len(self._template)
                self._template.append(program.weights.get(operand, np.float32))
            return constants[operand]

        return [
            [IDS] if isinstance(operation, Embed) else [slot(operand) for operand in of]
            for operation, of in zip(program.operations, program.of, strict=True)
        ]


def _owners(program: Program) -> tuple[dict[int, int], dict[int, int]]:
    """Return whose memory each value lies in, and the last operation that reads that memory."""
    owners, last_use = {IDS: IDS, NUMERIC: NUMERIC}, {}
    for i, (operation, of) in enumerate(zip(program.operations, program.of, strict=True)):
        values = [operand for operand in of if isinstance(operand, int)]
        owners[FIRST + i] = owners[values[0]] if operation.view else FIRST + i
        last_use.update({owners[value]: i for value in values})
    return owners, last_use


def _height(program: Program) -> int:
    widest = max(math.prod(operation.shape[1:]) for operation in program.operations)
    return max(_MULTIPLE, min(_BLOCK, _MOST // max(widest, 1) // _MULTIPLE * _MULTIPLE))

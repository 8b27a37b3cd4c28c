"""Programs run by the native kernels, where they are there and have all that a program needs."""

from __future__ import annotations

import functools
import logging

import numpy as np

from spark_ctr.kernels.native.library import NativeProgram, library
from spark_ctr.runtime.native_words import native_words
from spark_ctr.runtime.planner import NotNative, plan_of
from spark_ctr.runtime.program import Program

logger = logging.getLogger("spark_ctr")


class NativeExecution:
    """A program ready to run by the native kernels; scores are those of `Execution`, to the bit.

    Parameters
    ----------
    program : Program
    tasks : int
        Logits of a row.
    instruction_set : str, optional
        See `NativeProgram`.

    Raises
    ------
    NotNative
        If only NumPy can run the program; the message says why.
    """

    def __init__(self, program: Program, tasks: int, instruction_set: str | None = None) -> None:
        inputs = program.inputs
        words, arrays = native_words(plan_of(program), inputs, tasks)
        widths = inputs.ids_width, len(inputs.numeric), tasks
        try:
            self._program = NativeProgram(words, arrays, widths, instruction_set)
        except ValueError as error:
            raise NotNative(str(error)) from None
        self._inputs = inputs

    def __call__(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> None:
        """Compute ids [B, ids_width] and numbers [B, M] float32 into logits [B, T].

        Raises
        ------
        IndexError
            If an id lies outside its table.
        """
        if self._program(ids, numeric, logits) >= 0:
            self._inputs.id_range.check(ids.astype(np.int64))


def native_execution(program: Program, tasks: int) -> NativeExecution | None:
    """Return a program that the native kernels run, or None, said once, where NumPy must."""
    if library() is None:
        _say("they are not built; python -m spark_ctr.kernels.native.build builds them")
        return None
    try:
        return NativeExecution(program, tasks)
    except NotNative as reason:
        _say(f"a program needs what they do not have: {reason}")
        return None


@functools.cache
def _say(reason: str) -> None:
    logger.info("without native kernels, with the same scores but slower: %s", reason)

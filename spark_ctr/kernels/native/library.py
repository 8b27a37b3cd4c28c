"""The library of native kernels, loaded once, and programs that it runs."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_void_p

import numpy as np

from spark_ctr.kernels.native.build import LIBRARY

_MESSAGE_BYTES = 300


class _Array(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("bytes", c_int64))


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the library, or None where it is not there or not of this machine."""
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    loaded.ctr_instruction_set.restype = c_char_p
    loaded.ctr_instruction_set.argtypes = (c_int,)
    loaded.ctr_program_new.restype = c_void_p
    loaded.ctr_program_new.argtypes = (
        *(c_void_p, c_int64),
        *(POINTER(_Array), c_int64, c_int),
        *(c_char_p, c_int64),
    )
    loaded.ctr_program_free.restype = None
    loaded.ctr_program_free.argtypes = (c_void_p,)
    loaded.ctr_program_run.restype = c_int64
    loaded.ctr_program_run.argtypes = (
        *(c_void_p, c_void_p, c_int),
        *(c_void_p, c_int64, c_void_p),
    )
    return loaded


def instruction_sets() -> list[str]:
    """Return the names of the instruction sets of this processor, "portable" first, best last."""
    loaded = library()
    names: list[str] = []
    while loaded is not None and (name := loaded.ctr_instruction_set(len(names))) is not None:
        names.append(name.decode())
    return names


class NativeProgram:
    """A program that the library has checked and prepared.

    Parameters
    ----------
    words : sequence of int
        The program; see ``read.c`` for what they mean.
    arrays : sequence of ndarray
        What the words name by their position; contiguous and aligned. Tables are read where they
        are, all else is copied.
    instruction_set : str, optional
        One of `instruction_sets`; without it the best.

    Raises
    ------
    ValueError
        If the program does not hold together, or needs too much memory.
    RuntimeError
        If the library is not there.
    """

    def __init__(
        self,
        words: Sequence[int],
        arrays: Sequence[np.ndarray],
        instruction_set: str | None = None,
    ) -> None:
        loaded = library()
        if loaded is None:
            raise RuntimeError("the library of native kernels is not there")
        names = instruction_sets()
        self.instruction_set = names[-1] if instruction_set is None else instruction_set
        listed = np.array(words, dtype=np.int64)
        described = (_Array * len(arrays))(*[_Array(a.ctypes.data, a.nbytes) for a in arrays])
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        handle = loaded.ctr_program_new(
            *(listed.ctypes.data, len(listed)),
            *(described, len(arrays), names.index(self.instruction_set)),
            *(message, _MESSAGE_BYTES),
        )
        if handle is None:
            raise ValueError(message.value.decode())
        self._run, self._handle = loaded.ctr_program_run, handle
        # The library reads tables where they are.
        weakref.finalize(self, _free, loaded, handle, tuple(arrays))

    def __call__(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> int:
        """Compute logits.

        Parameters
        ----------
        ids : ndarray [B, S], int32 or int64
        numeric : ndarray [B, M], float32
        logits : ndarray [B, T], float32
            Written. All three are contiguous.

        Returns
        -------
        int
            The row of the first id that is not valid, where the logits end, or -1.

        Raises
        ------
        MemoryError
            If there is none for what lies between the operations.
        """
        wrong = self._run(
            self._handle,
            *(ids.ctypes.data, ids.itemsize, numeric.ctypes.data),
            *(len(ids), logits.ctypes.data),
        )
        if wrong < -1:
            raise MemoryError("the native kernels found no memory for their values")
        return wrong


def _free(loaded: ctypes.CDLL, handle: int, arrays: tuple[np.ndarray, ...]) -> None:
    loaded.ctr_program_free(handle)
    del arrays

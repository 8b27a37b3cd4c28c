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
# Batches up to so many rows, each of so many ids and numbers at most, are copied to memory whose
# address is known: asking NumPy for addresses takes longer than a few rows.
_FEW_ROWS = 16
_FEW_COLUMNS = 1 << 12


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
    widths : tuple of int
        Ids, numbers and logits of a row.
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
        widths: tuple[int, int, int],
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
        self._run, self._handle = loaded.ctr_program_run, c_void_p(handle)
        self._widths, self._few = widths, _FEW_ROWS if max(widths) <= _FEW_COLUMNS else 0
        # One for each thread that is at work: taking from a list and adding to it are atomic.
        self._batches: list[_FewRows] = []
        # The library reads tables where they are.
        weakref.finalize(self, _free, loaded, handle, tuple(arrays))

    def __call__(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> int:
        """Compute logits.

        Parameters
        ----------
        ids : ndarray [B, S], int
        numeric : ndarray [B, M], float32
        logits : ndarray [B, T], float32
            Written; contiguous.

        Returns
        -------
        int
            The row of the first id that is not valid, where the logits end, or -1.

        Raises
        ------
        MemoryError
            If there is none for what lies between the operations.
        """
        wrong = (self._run_few if len(ids) <= self._few else self._run_many)(ids, numeric, logits)
        if wrong < -1:
            raise MemoryError("the native kernels found no memory for their values")
        return wrong

    def _run_few(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> int:
        try:
            batch = self._batches.pop()
        except IndexError:
            batch = _FewRows(*self._widths)
        rows = len(ids)
        batch.ids[:rows], batch.numeric[:rows] = ids, numeric
        wrong = self._run(
            self._handle, batch.ids_at, batch.id_bytes, batch.numeric_at, rows, batch.logits_at
        )
        logits[:] = batch.logits[:rows]
        self._batches.append(batch)
        return wrong

    def _run_many(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> int:
        ids = np.require(ids, np.int32 if ids.dtype == np.int32 else np.int64, ("C", "A"))
        numeric = np.require(numeric, np.float32, ("C", "A"))
        return self._run(
            self._handle,
            *(ids.ctypes.data, ids.itemsize, numeric.ctypes.data),
            *(len(ids), logits.ctypes.data),
        )


class _FewRows:
    """Memory for a small batch, and its addresses as the library takes them."""

    def __init__(self, ids: int, numbers: int, tasks: int) -> None:
        self.ids = np.empty((_FEW_ROWS, ids), np.int64)
        self.numeric = np.empty((_FEW_ROWS, numbers), np.float32)
        self.logits = np.empty((_FEW_ROWS, tasks), np.float32)
        self.ids_at, self.numeric_at, self.logits_at = (
            c_void_p(array.ctypes.data) for array in (self.ids, self.numeric, self.logits)
        )
        self.id_bytes = c_int(self.ids.itemsize)


def _free(loaded: ctypes.CDLL, handle: int, arrays: tuple[np.ndarray, ...]) -> None:
    loaded.ctr_program_free(handle)
    del arrays

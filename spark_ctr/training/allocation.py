"""Memory of training steps kept for the next step, instead of given back after each."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt, and the largest values that it takes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER_TRIM, _LARGEST_HEAP_BLOCK = 2**31 - 1, 32 * 2**20
# Where glibc's own adjustment of the two would end after large blocks.
_TRIM_AFTERWARDS = 2 * _LARGEST_HEAP_BLOCK

_lock = threading.Lock()
_users = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let glibc keep freed memory within this context, and give it back at its end.

    A step on the CPU frees all its activations, glibc returns them to the system, and the next step
    faults every page in again. `benchmarks.training_precision` shows what that takes. Without glibc
    nothing is changed.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    global _users
    with _lock:
        _users += 1
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                libc.mallopt(_TRIM_THRESHOLD, _TRIM_AFTERWARDS)
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    there = all(hasattr(libc, name) for name in ("mallopt", "malloc_trim", "gnu_get_libc_version"))
    return libc if there else None

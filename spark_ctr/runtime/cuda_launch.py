"""Launches of CUDA kernels, with stand-ins for what is known only when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spark_ctr.kernels import cuda

# In place of a value's number: the ids, and the first row that has an id which is not valid.
IDS, FIRST_BAD = -1, -2


@dataclass(frozen=True)
class At:
    """The address of a value."""

    value: int


@dataclass(frozen=True)
class Rows:
    """The number of rows times a factor, 64 bits."""

    factor: int = 1


Argument = At | Rows | cuda.Argument


@dataclass(frozen=True)
class Call:
    """A launch.

    Attributes
    ----------
    source, kernel : str
    blocks : callable
        From the number of rows to that of blocks; 0 is not to be launched.
    arguments : tuple
    shared : int
        Bytes of shared memory of a block.
    """

    source: str
    kernel: str
    blocks: Callable[[int], int]
    arguments: tuple[Argument, ...]
    shared: int = 0

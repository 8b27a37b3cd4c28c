"""Tables of a whole student, as the kernel of ``student`` reads them, and the memory it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from spark_ctr.kernels.cuda.embedding import COLUMN
from spark_ctr.kernels.cuda.geometry import TILE_WORDS, WARP_ROWS
from spark_ctr.kernels.cuda.rows import row_words

# struct LookUp of gpu/student.h.
LOOK_UP = np.dtype(
    [("column", COLUMN), ("index", "<u8"), ("nibbles", "<u8"), ("dim", "<i4")], align=True
)
# struct StudentLayer.
STUDENT_LAYER = np.dtype(
    [
        *[(name, "<u8") for name in ("weight", "start", "scale", "bias", "inverse")],
        *[(name, "<i4") for name in ("binary", "finish", "bits", "outputs", "relu", "zero")],
    ]
)
# struct Student.
STUDENT = np.dtype(
    [
        *[(name, "<u8") for name in ("lowest", "counts", "padded")],
        *[(name, "<u8") for name in ("columns", "source", "inverse", "layers")],
        *[(name, "<i4") for name in ("slots", "numbers", "width", "zero", "depth", "second")],
    ]
)
# What a block has on every device without asking for more.
MOST_SHARED = 48 << 10


class StudentFinish(IntEnum):
    """What becomes of the sums of a layer; enum Finish of ``gpu/student.h``."""

    FLOAT32 = 0
    LEVELS = 1
    SIGNS = 2


@dataclass(frozen=True)
class StudentLayer:
    """A layer; arrays are addresses of the device, 0 where the kernel of the layer has none.

    Parameters
    ----------
    binary : bool
        Whether it reads signs, else levels.
    finish : StudentFinish
    inputs, outputs : int
    weight, start : int
        Of `IntegerLayer`; of a binary one `FloatLayer`, or `SignLayer` where it makes signs, whose
        offset or threshold is the start.
    scale, bias, inverse : int
        `inverse` is that of the levels that it makes.
    relu : bool
    zero : int
        Of the levels that it makes.
    """

    binary: bool
    finish: StudentFinish
    inputs: int
    outputs: int
    weight: int
    start: int
    scale: int = 0
    bias: int = 0
    inverse: int = 0
    relu: bool = False
    zero: int = 0

    @property
    def bits(self) -> int:
        """Bits of a row that it reads."""
        return self.inputs if self.binary else 8 * self.inputs


def student_layers(layers: Sequence[StudentLayer]) -> np.ndarray:
    """Check and prepare layers that each read the one before.

    Parameters
    ----------
    layers : sequence of StudentLayer
        The first one reads levels, the last one makes float32.

    Returns
    -------
    ndarray [len(layers)], STUDENT_LAYER

    Raises
    ------
    ValueError
        If there are none, or one does not read what is before it.
    """
    if not layers or layers[0].binary or layers[-1].finish != StudentFinish.FLOAT32:
        raise ValueError(f"{layers} do not begin with levels and end with float32")
    for before, layer in pairwise(layers):
        read = StudentFinish.SIGNS if layer.binary else StudentFinish.LEVELS
        if (before.finish, before.outputs) != (read, layer.inputs):
            raise ValueError(f"{layer} does not read what {before} makes")
    prepared = np.zeros(len(layers), STUDENT_LAYER)
    for i, layer in enumerate(layers):
        prepared[i] = (
            *(layer.weight, layer.start, layer.scale, layer.bias, layer.inverse),
            *(layer.binary, layer.finish, layer.bits, layer.outputs, layer.relu, layer.zero),
        )
    return prepared


def level_sources(
    columns: Iterable[tuple[int, int]], numbers: Iterable[tuple[int, int]], width: int
) -> np.ndarray:
    """Return where each level of the first layer comes from.

    Parameters
    ----------
    columns : iterable of (at, dim)
        First level of each column, and how many it has, in the order of their `LOOK_UP`.
    numbers : iterable of (at, count)
        First level of the numeric columns, which may be there more than once, and their number.
    width : int

    Returns
    -------
    ndarray [width], int32
        Position of the column, or ``~i`` of numeric column i.

    Raises
    ------
    ValueError
        If a level has none or two, or is beyond the width.
    """
    source, known = np.zeros(width, np.int32), np.zeros(width, np.int64)
    parts = [(at, np.full(dim, i)) for i, (at, dim) in enumerate(columns)]
    parts += [(at, ~np.arange(count)) for at, count in numbers]
    for at, values in parts:
        if not 0 <= at <= at + len(values) <= width:
            raise ValueError(f"levels {at} to {at + len(values)} are not of {width}")
        source[at : at + len(values)] = values
        known[at : at + len(values)] += 1
    if (known != 1).any():
        raise ValueError(f"levels {np.flatnonzero(known != 1).tolist()} have no source, or two")
    return source


def shared_words(bits: int) -> int:
    """Return the words of a row of so many bits in shared memory: an odd number of tiles."""
    return row_words(bits) | TILE_WORDS


def student_memory(bits: Sequence[int]) -> tuple[int, int]:
    """Return what a block keeps in shared memory: two buffers that change roles.

    Parameters
    ----------
    bits : sequence of int
        Bits of a row that each layer reads.

    Returns
    -------
    second, nbytes : int
        Where the second buffer begins, in words; bytes of both. More than `MOST_SHARED` cannot be
        launched.
    """
    first, second = (
        WARP_ROWS * max((shared_words(n) for n in some), default=0)
        for some in (bits[::2], bits[1::2])
    )
    return first, 4 * (first + second)

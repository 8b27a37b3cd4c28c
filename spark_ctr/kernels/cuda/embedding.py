"""Columns of a look-up, as the kernels of ``embedding`` read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spark_ctr.kernels.index8 import offset_of

# struct Column of gpu/embedding.h.
COLUMN = np.dtype(
    [
        *[(name, "<i8") for name in ("start", "coarse_start")],
        *[(name, "<i4") for name in ("first", "last", "slot", "slots", "at", "pooling")],
        *[(name, "<f4") for name in ("scale", "offset")],
    ]
)
_SUM, _MEAN, _COUNTED = range(3)
# A value of a packed program has no more elements a row.
_MOST_WIDTH = 1 << 22


@dataclass(frozen=True)
class EmbeddingColumn:
    """One column of a look-up, and the block of rows that it reads.

    Parameters
    ----------
    rows : int
        Rows of the block, of 8 and of 4 bits.
    start, coarse_start : int
        First row of the block among all rows of 8 bits, and among all of 4 bits.
    scale, minimum : float32
        The affine map of the block.
    slot, slots : int
        Where its ids begin in a row of ids, and how many they are.
    at : int
        Where its embedding begins in a row of the output.
    mean : bool
        Whether the slots are averaged, not added.
    padded : bool
        Whether an id may be PADDING.
    first, last : int
        Rows [first, last) of the block have 4 bits.
    """

    rows: int
    start: int
    scale: np.float32
    minimum: np.float32
    slot: int
    at: int
    slots: int = 1
    mean: bool = True
    padded: bool = False
    first: int = 0
    last: int = 0
    coarse_start: int = 0


def embedding_columns(
    columns: Sequence[EmbeddingColumn],
    dim: int,
    *,
    ids_width: int,
    width: int,
    index_rows: int,
    nibble_rows: int = 0,
) -> np.ndarray:
    """Check and prepare the columns of one layer: nothing else will be read or written.

    Ids are to be checked before a look-up, as `spark_ctr.tables.is_valid_id` has it.

    Parameters
    ----------
    columns : sequence of EmbeddingColumn
    dim : int
        Numbers of a row.
    ids_width : int
        Ids of a row of data.
    width : int
        Numbers of a row of the output, at most 2**22.
    index_rows, nibble_rows : int
        Rows of 8 and of 4 bits of the layer.

    Returns
    -------
    ndarray [len(columns)], COLUMN

    Raises
    ------
    ValueError
        If there are no columns, or one of them leaves the rows, the ids or the output.
    """
    if not columns or dim < 1 or not dim * len(columns) <= width <= _MOST_WIDTH:
        raise ValueError(
            f"{len(columns)} columns of {dim} numbers do not fit rows of {width}, which may have "
            f"{_MOST_WIDTH}"
        )
    prepared = np.zeros(len(columns), COLUMN)
    for i, column in enumerate(columns):
        fine = column.rows - (column.last - column.first)
        inside = (
            0 <= column.first <= column.last <= column.rows < 2**31
            and 0 <= column.start <= index_rows - fine
            and column.coarse_start >= 0
            and column.coarse_start + column.last - column.first <= nibble_rows
            and 0 <= column.slot < column.slot + column.slots <= ids_width
            and 0 <= column.at <= width - dim
        )
        if not inside:
            raise ValueError(f"{column} leaves the rows, the ids or the output")
        pooling = (_COUNTED if column.padded else _MEAN) if column.mean else _SUM
        prepared[i] = (
            *(column.start, column.coarse_start, column.first, column.last),
            *(column.slot, column.slots, column.at, pooling),
            *(column.scale, offset_of(column.scale, column.minimum)),
        )
    return prepared

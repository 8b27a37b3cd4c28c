"""The binary plan of the JVM function ``ctr_rows``: many columns' vocabularies in one constant."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .tail import SCHEMES
from .vocabulary import Vocabulary

_MAGIC = b"CTR1"


@dataclass(frozen=True)
class ColumnRows:
    """How one column's values become row numbers.

    Parameters
    ----------
    vocabulary : Vocabulary
    values : int
        0 for a scalar column; else how many elements of an array are read. Shorter arrays are
        padded with `PADDING`, and an empty one counts as one missing value.
    """

    vocabulary: Vocabulary
    values: int = 0

    @property
    def width(self) -> int:
        """Row numbers per row of the log."""
        return max(self.values, 1) * self.vocabulary.slots


def row_plan(columns: Sequence[ColumnRows]) -> bytes:
    """Return the plan of some columns.

    Little-endian: the magic ``CTR1`` and the number of columns, then for each column seven 32-bit
    numbers (scheme, signed, values, buckets, offset, first bucket, private rows), the seed and the
    hashes of the private values, 64 bits each.
    """
    parts = [_MAGIC, struct.pack("<i", len(columns))]
    for column in columns:
        vocabulary, tail = column.vocabulary, column.vocabulary.tail
        parts.append(
            struct.pack(
                "<7iq",
                SCHEMES.index(tail.scheme),
                tail.signed,
                column.values,
                tail.buckets,
                vocabulary.offset,
                vocabulary.first_bucket,
                len(vocabulary.head),
                tail.seed,
            )
        )
        parts.append(np.asarray(vocabulary.head, dtype="<i8").tobytes())
    return b"".join(parts)

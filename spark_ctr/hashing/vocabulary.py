"""Embedding rows of one column's values: missing, private rows, hashed tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

from .tail import TailHash


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Which rows of its embedding table a value stands for.

    A column's block of rows holds, from `offset` on: the missing value, the private rows in the
    order of `head`, the buckets of the tail. Of a value with two slots a private row is named
    twice, so that the mean over the slots is that row.

    Parameters
    ----------
    head : int64 array, shape (H,)
        Hashes of the values with a private row, all different.
    tail : TailHash
        For all other values.
    offset : int
        Row of the missing value.
    tail_offset : int or None
        Row of the first bucket, ``offset + 1 + H`` if None. Columns that share one table of
        hashed rows share this.
    """

    head: np.ndarray
    tail: TailHash
    offset: int = 0
    tail_offset: int | None = None

    @property
    def slots(self) -> int:
        """Row numbers per value."""
        return self.tail.slots

    @property
    def first_bucket(self) -> int:
        """Row of the tail's first bucket."""
        return self.offset + 1 + len(self.head) if self.tail_offset is None else self.tail_offset

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal where all values have the same rows, up to the offsets."""
        tail = self.tail
        text = f"{tail.scheme} {tail.buckets} {tail.seed} {tail.signed} "
        return xxhash.xxh3_64_hexdigest(text.encode() + np.asarray(self.head, "<i8").tobytes())

    def rows(self, hashes: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        """Return the rows of values.

        Parameters
        ----------
        hashes : int64 array, shape (n,)
            Of `value_hashes`; any number where missing.
        missing : bool array, shape (n,), optional

        Returns
        -------
        int32 array, shape (n, slots)
            A row r that counts negatively is given as ``~r``.
        """
        hashes = np.asarray(hashes, dtype=np.int64)
        rows = self.tail.rows(hashes)
        rows = np.where(rows < 0, rows - self.first_bucket, rows + self.first_bucket)
        if len(self.head):
            order = np.argsort(self.head)
            ordered = self.head[order]
            at = np.searchsorted(ordered, hashes).clip(max=len(ordered) - 1)
            found = ordered[at] == hashes
            rows[found] = (self.offset + 1 + order[at[found]])[:, None]
        if missing is not None:
            rows[missing] = self.offset
        return rows.astype(np.int32)

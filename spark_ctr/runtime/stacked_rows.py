"""Rows of stacked tables, most of 8 bits and a range of each block of 4 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spark_ctr.kernels import unpack_index4


@dataclass(frozen=True)
class Coarse:
    """The rows of a block that have 4 bits.

    Attributes
    ----------
    first, last : int
        Rows [first, last) of the block.
    """

    first: int = 0
    last: int = 0

    @property
    def rows(self) -> int:
        """Their number."""
        return self.last - self.first


class StackedRows:
    """Blocks of rows one after the other, those of 8 bits in one array and of 4 bits in another.

    Parameters
    ----------
    index : ndarray [rows of 8 bits, dim], int8
    nibbles : ndarray [rows of 4 bits, 1 + ceil(dim / 2)], uint8, or None
        See `spark_ctr.kernels.pack_index4`; None where there are no such rows.
    rows : sequence of int
        Of each block, of both kinds.
    coarse : sequence of Coarse
        Of each block.
    """

    def __init__(
        self,
        index: np.ndarray,
        nibbles: np.ndarray | None,
        rows: Sequence[int],
        coarse: Sequence[Coarse],
    ) -> None:
        self.index, self.nibbles = index, nibbles
        self.coarse = list(coarse)
        self.starts = _starts([n - c.rows for n, c in zip(rows, coarse, strict=True)])
        self.coarse_starts = _starts([c.rows for c in coarse])

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        return int(self.index.shape[1])


class BlockRows:
    """Look-up of ids whose slots are in given blocks.

    Parameters
    ----------
    stacked : StackedRows
    blocks : ndarray [S], int
        Block of each slot.
    """

    def __init__(self, stacked: StackedRows, blocks: np.ndarray) -> None:
        self._stacked = stacked
        self._starts = np.array(stacked.starts)[blocks]
        if stacked.nibbles is not None:
            found = [stacked.coarse[block] for block in blocks]
            self._first = np.array([one.first for one in found])
            self._last = np.array([one.last for one in found])
            self._coarse_starts = np.array(stacked.coarse_starts)[blocks]

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """Return the indices of rows, int64 [B, S] of their blocks, as int8 [B, S, dim]."""
        index, nibbles = self._stacked.index, self._stacked.nibbles
        if nibbles is None:
            return index.take(ids + self._starts, axis=0)
        found = np.empty((*ids.shape, self._stacked.dim), dtype=np.int8)
        coarse = (ids >= self._first) & (ids < self._last)
        behind = np.where(ids >= self._last, self._last - self._first, 0)
        found[~coarse] = index[(ids + self._starts - behind)[~coarse]]
        packed = nibbles[(ids + self._coarse_starts - self._first)[coarse]]
        found[coarse] = unpack_index4(packed, self._stacked.dim)
        return found


def _starts(lengths: Sequence[int]) -> list[int]:
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64).tolist()

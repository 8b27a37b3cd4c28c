"""Decoded rows of one Parquet row group, as contiguous arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Block:
    """Consecutive rows, column-stacked.

    Attributes
    ----------
    ids : ndarray of int32, shape (rows, n_ids)
    numeric : ndarray of float32, shape (rows, numeric)
    label : ndarray of float32, shape (rows,)
    weight : ndarray of float32, shape (rows,)
    """

    ids: np.ndarray
    numeric: np.ndarray
    label: np.ndarray
    weight: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.label)

    @classmethod
    def empty(cls, rows: int, n_ids: int, n_numeric: int) -> Block:
        """Allocate an uninitialised block, C-contiguous."""
        return cls(
            np.empty((rows, n_ids), np.int32),
            np.empty((rows, n_numeric), np.float32),
            np.empty(rows, np.float32),
            np.empty(rows, np.float32),
        )

    @classmethod
    def from_columns(
        cls, column: Callable[[str], np.ndarray], rows: int, n_ids: int, n_numeric: int
    ) -> Block:
        """Stack columns read one at a time.

        Parameters
        ----------
        column : callable
            Maps a column name to its values, shape (rows,).
        rows, n_ids, n_numeric : int
            Number of rows, of ``c*`` columns and of ``n*`` columns.

        Raises
        ------
        ValueError
            If an id column holds nulls, which a reader returns as a float column with NaN.
        """
        block = cls.empty(rows, n_ids, n_numeric)
        for j in range(n_ids):
            values = column(f"c{j}")
            if values.dtype != np.int32:
                raise ValueError(f"column c{j} holds nulls; encode a missing value as id 0")
            block.ids[:, j] = values
        for j in range(n_numeric):
            block.numeric[:, j] = column(f"n{j}")
        block.label[:] = column("label")
        block.weight[:] = column("weight")
        return block

    def copy_rows(self, target: int, source: Block, start: int, count: int) -> None:
        """Copy rows ``start:start + count`` of ``source`` to the rows from ``target`` on."""
        into, rows = slice(target, target + count), slice(start, start + count)
        self.ids[into] = source.ids[rows]
        self.numeric[into] = source.numeric[rows]
        self.label[into] = source.label[rows]
        self.weight[into] = source.weight[rows]

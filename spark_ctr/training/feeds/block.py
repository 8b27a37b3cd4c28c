"""Decoded rows: the columns of one Parquet row group, and the row-major block they are put into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spark_ctr.training.feeds.batch import Batch


@dataclass(frozen=True)
class Columns:
    """Rows of one row group as a reader library decodes them, one array a column.

    Attributes
    ----------
    ids : sequence of ndarray of int32, each [rows]
    numeric : sequence of ndarray of float32 or float64, each [rows]
    labels : sequence of ndarray of float32 or float64, each [rows]
        One a task; nan where it is not known.
    weight : ndarray of float32 or float64, [rows]
    """

    ids: Sequence[np.ndarray]
    numeric: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    weight: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.weight)

    @classmethod
    def read(
        cls, column: Callable[[str], np.ndarray], n_ids: int, n_numeric: int, n_labels: int
    ) -> Columns:
        """Take the columns from a reader library.

        Parameters
        ----------
        column : callable
            Maps a column name to its values, shape (rows,).
        n_ids, n_numeric, n_labels : int
            Number of ``c*`` columns, of ``n*`` columns, and of `label_names`.

        Raises
        ------
        ValueError
            If an id column holds nulls, which a reader returns as a float column with NaN.
        """
        ids = [column(f"c{j}") for j in range(n_ids)]
        for j, values in enumerate(ids):
            if values.dtype != np.int32:
                raise ValueError(f"column c{j} holds nulls; encode a missing value as id 0")
        numeric = [column(f"n{j}") for j in range(n_numeric)]
        labels = [column(name) for name in label_names(n_labels)]
        return cls(ids, numeric, labels, column("weight"))


def label_names(n_labels: int) -> list[str]:
    """Name the label columns of training files, one a task."""
    return ["label", *(f"label{task}" for task in range(1, n_labels))]


@dataclass(frozen=True)
class Block:
    """Rows side by side, all arrays C-contiguous.

    Attributes
    ----------
    ids : ndarray of int32, [rows, n_ids]
    numeric : ndarray of float32, [rows, n_numeric]
    label : ndarray of float32, [rows, n_labels]
    weight : ndarray of float32, [rows]
    weight_scale : float
        Factor on the weights of the rows that are put in.
    """

    ids: np.ndarray
    numeric: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    weight_scale: float = 1.0

    @classmethod
    def empty(
        cls, rows: int, n_ids: int, n_numeric: int, n_labels: int = 1, weight_scale: float = 1.0
    ) -> Block:
        """Allocate an uninitialised block."""
        return cls(
            np.empty((rows, n_ids), np.int32),
            np.empty((rows, n_numeric), np.float32),
            np.empty((rows, n_labels), np.float32),
            np.empty(rows, np.float32),
            weight_scale,
        )

    def put(self, at: int, columns: Columns, start: int, count: int) -> None:
        """Copy rows ``start:start + count`` of ``columns`` to the rows from ``at`` on."""
        into, rows = slice(at, at + count), slice(start, start + count)
        for j, values in enumerate(columns.ids):
            self.ids[into, j] = values[rows]
        for j, values in enumerate(columns.numeric):
            self.numeric[into, j] = values[rows]
        for j, values in enumerate(columns.labels):
            self.label[into, j] = values[rows]
        weight = columns.weight[rows]
        # In float64, so that equal weights become exactly 1.
        scale = self.weight_scale
        self.weight[into] = weight if scale == 1 else weight.astype(np.float64) * scale

    def gather(self, rows: np.ndarray) -> Batch:
        """Copy the rows with these indices (int64, [B]) into a batch of new tensors."""
        # Not torch.index_select: its threads would wait for cores that decode the next row groups.
        label = torch.from_numpy(self.label.take(rows, axis=0))
        several = label.shape[1] > 1
        return Batch(
            ids=torch.from_numpy(self.ids.take(rows, axis=0)),
            numeric=torch.from_numpy(self.numeric.take(rows, axis=0)),
            label=label.nan_to_num() if several else label,
            weight=torch.from_numpy(self.weight.take(rows)),
            # Rows without the one label that there is are not written.
            known=~label.isnan() if several else None,
        )

"""Decoded rows: the columns of one Parquet row group, and the row-major block they are put into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from spark_ctr.training.feeds.batch import Batch


@dataclass(frozen=True)
class Layout:
    """Which columns of training files are read.

    Attributes
    ----------
    n_ids, n_numeric, n_labels, n_teacher : int
        Number of ``c*``, ``n*``, label and ``t*`` columns.
    prefix : str
        Stands before the names of the ``c*`` and ``n*`` columns.
    weighted : bool
        Whether there are weights of the labels, a column a task.
    """

    n_ids: int
    n_numeric: int
    n_labels: int = 1
    n_teacher: int = 0
    prefix: str = ""
    weighted: bool = False

    @cached_property
    def ids(self) -> list[str]:
        """Names of the id columns."""
        return [f"{self.prefix}c{j}" for j in range(self.n_ids)]

    @cached_property
    def numeric(self) -> list[str]:
        """Names of the numeric columns."""
        return [f"{self.prefix}n{j}" for j in range(self.n_numeric)]

    @cached_property
    def labels(self) -> list[str]:
        """Names of the label columns, one a task."""
        return ["label", *(f"label{task}" for task in range(1, self.n_labels))]

    @cached_property
    def label_weights(self) -> list[str]:
        """Names of the columns of the labels' weights."""
        return [f"label_weight{task}" for task in range(self.n_labels if self.weighted else 0)]

    @cached_property
    def teacher(self) -> list[str]:
        """Names of the columns of the teacher's logits."""
        return [f"t{task}" for task in range(self.n_teacher)]

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        of_rows = [*self.ids, *self.numeric, *self.labels, "weight"]
        return [*of_rows, *self.label_weights, *self.teacher]


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
    teacher : sequence of ndarray of float32 or float64, each [rows]
        Logits of the teacher, one a task; empty where they are not read.
    label_weights : sequence of ndarray of float32 or float64, each [rows]
        Weights of the labels, one a task; empty where there are none.
    """

    ids: Sequence[np.ndarray]
    numeric: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]
    weight: np.ndarray
    teacher: Sequence[np.ndarray] = ()
    label_weights: Sequence[np.ndarray] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.weight)

    @classmethod
    def read(cls, column: Callable[[str], np.ndarray], layout: Layout) -> Columns:
        """Take the columns from a reader library.

        Parameters
        ----------
        column : callable
            Maps a column name to its values, shape (rows,).
        layout : Layout

        Raises
        ------
        ValueError
            If an id column holds nulls, which a reader returns as a float column with NaN.
        """
        ids = [column(name) for name in layout.ids]
        for name, values in zip(layout.ids, ids, strict=True):
            if values.dtype != np.int32:
                raise ValueError(f"column {name} holds nulls; encode a missing value as id 0")
        numeric, labels, teacher, label_weights = (
            [column(name) for name in names]
            for names in (layout.numeric, layout.labels, layout.teacher, layout.label_weights)
        )
        return cls(ids, numeric, labels, column("weight"), teacher, label_weights)


@dataclass(frozen=True)
class Block:
    """Rows side by side, all arrays C-contiguous.

    Attributes
    ----------
    ids : ndarray of int32, [rows, n_ids]
    numeric : ndarray of float32, [rows, n_numeric]
    label : ndarray of float32, [rows, n_labels]
    weight : ndarray of float32, [rows]
    teacher : ndarray of float32, [rows, n_teacher]
    label_weight : ndarray of float32, [rows, n_labels] or [rows, 0]
    weight_scale : float
        Factor on the weights of the rows that are put in.
    task_scales : sequence of float
        Factors on the weights of the labels that are put in.
    """

    ids: np.ndarray
    numeric: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    teacher: np.ndarray
    label_weight: np.ndarray
    weight_scale: float = 1.0
    task_scales: Sequence[float] = ()

    @classmethod
    def empty(
        cls,
        rows: int,
        layout: Layout,
        weight_scale: float = 1.0,
        task_scales: Sequence[float] = (),
    ) -> Block:
        """Allocate an uninitialised block."""
        return cls(
            np.empty((rows, layout.n_ids), np.int32),
            np.empty((rows, layout.n_numeric), np.float32),
            np.empty((rows, layout.n_labels), np.float32),
            np.empty(rows, np.float32),
            np.empty((rows, layout.n_teacher), np.float32),
            np.empty((rows, len(layout.label_weights)), np.float32),
            weight_scale,
            task_scales,
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
        for j, values in enumerate(columns.teacher):
            self.teacher[into, j] = values[rows]
        for j, (values, factor) in enumerate(
            zip(columns.label_weights, self.task_scales, strict=True)
        ):
            self.label_weight[into, j] = values[rows].astype(np.float64) * factor
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
            teacher=torch.from_numpy(self.teacher.take(rows, axis=0))
            if self.teacher.shape[1]
            else None,
            label_weight=torch.from_numpy(self.label_weight.take(rows, axis=0))
            if self.label_weight.shape[1]
            else None,
        )

"""Open Parquet files as a feed of training batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import cache
from typing import Protocol

import numpy as np

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.block import Block, Columns, Layout
from spark_ctr.training.feeds.petastorm_feed import (
    PetastormReader,
    has_cut_path,
    is_remote,
    why_not_petastorm,
)
from spark_ctr.training.feeds.pyarrow_feed import PyArrowReader
from spark_ctr.training.feeds.source import ParquetSource, open_source
from spark_ctr.training.feeds.windows import fill, windows

logger = logging.getLogger("spark_ctr")

KINDS = ("auto", "petastorm", "pyarrow")


class Reader(Protocol):
    """What a feed needs from a reader library."""

    kind: str
    source: ParquetSource

    def groups(
        self, order_seed: int | None, rank: int = 0, ranks: int = 1, skip: int = 0
    ) -> Generator[Columns, None, None]:
        """Yield ``source.order(order_seed, rank, ranks)[skip:]``; closing it frees all."""
        ...


class Feed:
    """Batches of the rows of some Parquet files, each row once per epoch over all ranks.

    Attributes
    ----------
    rows : int
        Rows per epoch of all ranks together.
    kind : str
        Reader used: ``"petastorm"`` or ``"pyarrow"``.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        shuffle_buffer_rows: int,
        rank: int = 0,
        ranks: int = 1,
        weight_scale: float = 1.0,
        task_scales: Sequence[float] = (),
    ):
        self.kind = reader.kind
        self.rows = reader.source.rows
        self._reader = reader
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed % 2**64  # Spark seeds are signed longs, numpy's are not negative
        self._rank, self._ranks = rank, ranks
        self._weight_scale, self._task_scales = weight_scale, task_scales
        self._fits = self.rows <= shuffle_buffer_rows
        self._whole: Block | None = None  # all rows, once read, if they fit
        # Two windows of whole batches are in memory: one is read while one is used.
        batches = max(shuffle_buffer_rows // 2 // batch_size, 1) if shuffle else 1
        self._window = batches * batch_size

    @property
    def steps(self) -> int:
        """Batches in an epoch, the same number on every rank."""
        if self._fits:
            return -(-self.rows // (self._batch_size * self._ranks))
        source = self._reader.source
        return -(-max(source.rank_rows(self._ranks)) // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Iterate over one epoch, or over what is left of it after ``start`` batches.

        The order depends on (seed, epoch) only. If all rows fit the shuffle buffer it is one
        permutation of them, whatever the cut into row groups; every rank takes its part of each
        global batch, and the rows are kept for later epochs. Else each rank reads row groups of
        its own in random order and permutes rows window by window, a window being half the
        buffer. Reader threads end with the iterator, also when it is closed early.

        Parameters
        ----------
        epoch : int
            Epoch number, from 0.
        start : int
            Batches to skip; row groups of which nothing else is needed are not decoded by pyarrow.

        Yields
        ------
        Batch
            New tensors of ``batch_size`` rows, ``steps - start`` times. A rank's last batch
            may be shorter, and a rank that has run out yields batches without rows.

        Raises
        ------
        ValueError
            If a file cannot be decoded.
        RuntimeError
            If the files changed since the feed was opened.
        """
        if start >= self.steps:
            return
        yield from self._of_whole(epoch, start) if self._fits else self._of_windows(epoch, start)

    def _of_whole(self, epoch: int, start: int) -> Generator[Batch, None, None]:
        if self._whole is None:
            whole = self._empty(self.rows)
            (self._whole,) = fill(self._reader.groups(None), [whole], [self.rows])
        order = self._order([self._seed, epoch], self.rows)
        size = self._batch_size
        for step in range(start, self.steps):
            at = (step * self._ranks + self._rank) * size
            yield self._whole.gather(order[at : at + size])

    def _of_windows(self, epoch: int, start: int) -> Generator[Batch, None, None]:
        source, size, length = self._reader.source, self._batch_size, self._window
        seed = [self._seed, epoch]
        order_seed = int(np.random.default_rng(seed).integers(2**32)) if self._shuffle else None
        ends = np.cumsum([g.rows for g in source.order(order_seed, self._rank, self._ranks)])
        rows = int(ends[-1]) if len(ends) else 0
        first = start * size // length  # the window that holds the first batch
        sizes = [min(length, rows - at) for at in range(first * length, rows, length)]
        step = start
        if sizes:
            skip = int(np.searchsorted(ends, first * length, side="right"))
            groups = self._reader.groups(order_seed, self._rank, self._ranks, skip)
            drop = first * length - (int(ends[skip - 1]) if skip else 0)
            blocks = (self._empty(max(sizes)), self._empty(max(sizes)))
            with closing(windows(groups, blocks, sizes, drop)) as filled:
                for window, block in enumerate(filled, first):
                    order = self._order([*seed, window], sizes[window - first])
                    for at in range(step * size - window * length, len(order), size):
                        yield block.gather(order[at : at + size])
                        step += 1
        for _ in range(step, self.steps):
            yield self._empty(0).gather(np.arange(0))

    def _order(self, seed: Sequence[int], rows: int) -> np.ndarray:
        return np.random.default_rng(seed).permutation(rows) if self._shuffle else np.arange(rows)

    def _empty(self, rows: int) -> Block:
        layout = self._reader.source.layout
        return Block.empty(rows, layout, self._weight_scale, self._task_scales)


def open_feed(
    path_or_url: str | os.PathLike[str],
    n_ids: int,
    n_numeric: int,
    *,
    kind: str = "auto",
    batch_size: int,
    shuffle: bool,
    seed: int,
    shuffle_buffer_rows: int = 1_000_000,
    rank: int = 0,
    ranks: int = 1,
    weight_scale: float = 1.0,
    n_labels: int = 1,
    n_teacher: int = 0,
    prefix: str = "",
    task_scales: Sequence[float] = (),
) -> Feed:
    """Open a directory of Parquet files, or one file, for training.

    Parameters
    ----------
    path_or_url : str or os.PathLike
        Local path, ``file:`` URL, or a URI known to pyarrow or fsspec. The files, taken in the
        order of their paths, hold ``c0..`` (int32), ``n0..`` , ``label`` and ``weight`` (float32);
        labels of further tasks are ``label1..``, null where they are not known.
    n_ids, n_numeric : int
        Number of ``c*`` and ``n*`` columns to read; either may be 0.
    kind : {"auto", "petastorm", "pyarrow"}
        Reader library; "auto" takes Petastorm where it can be used and the files are
        local, else pyarrow.
    batch_size : int
        Rows per batch and rank.
    shuffle : bool
        False keeps the order of the files.
    seed : int
        Seed of the order, any int.
    shuffle_buffer_rows : int
        Rows held in memory. If all rows are no more than this, they are permuted together, else
        half of this number at a time.
    rank, ranks : int
        Which of how many processes this is, each with a feed of the same files and settings.
    weight_scale : float
        Factor on all weights.
    n_labels : int
        Number of tasks, each with a label.
    n_teacher : int
        Number of ``t*`` columns (float32) to read: logits of a teacher, one a task.
    prefix : str
        Stands before the names of the ``c*`` and ``n*`` columns: "x0_" reads features that only a
        teacher has.
    task_scales : sequence of float
        Factors on the weights of the labels, one a task, whose columns are ``label_weight0..``;
        empty where there are no such columns.

    Returns
    -------
    Feed

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path_or_url``.
    ImportError
        If ``kind`` is "petastorm" and Petastorm cannot be used.
    ValueError
        If an argument is out of range, a column is missing or of the wrong type, or a file is
        truncated.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if batch_size < 1 or shuffle_buffer_rows < 1:
        raise ValueError(
            f"batch_size ({batch_size}) and shuffle_buffer_rows ({shuffle_buffer_rows}) must be "
            "at least 1"
        )
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must be from 0 to ranks - 1 ({ranks - 1}), not {rank}")
    layout = Layout(n_ids, n_numeric, n_labels, n_teacher, prefix, bool(task_scales))
    source = open_source(path_or_url, layout)
    return Feed(
        _reader(kind, source),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        shuffle_buffer_rows=shuffle_buffer_rows,
        rank=rank,
        ranks=ranks,
        weight_scale=weight_scale,
        task_scales=task_scales,
    )


def _reader(kind: str, source: ParquetSource) -> Reader:
    if kind == "petastorm":
        return PetastormReader(source)
    if kind == "pyarrow":
        return PyArrowReader(source)
    reason = why_not_petastorm()
    if reason is None and has_cut_path(source):
        reason = "it takes no '#' or '?' in a path"
    if reason is None and is_remote(source):
        reason = "the files are not local"
    reader: Reader = PyArrowReader(source) if reason else PetastormReader(source)
    _say_once(reader.kind, reason)
    return reader


@cache
def _say_once(kind: str, reason: str | None) -> None:
    """Log which reader "auto" took, once per process."""
    why = f" (not Petastorm: {reason})" if reason else ""
    logger.info("reading training data with %s%s", kind, why)

"""Open Parquet files as a feed of training batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from functools import cache
from typing import Protocol

import numpy as np

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.block import Block
from spark_ctr.training.feeds.petastorm_feed import (
    PetastormReader,
    has_cut_path,
    is_remote,
    why_not_petastorm,
)
from spark_ctr.training.feeds.pyarrow_feed import PyArrowReader
from spark_ctr.training.feeds.shuffle import batches_of, buffered_batches, load_all
from spark_ctr.training.feeds.source import ParquetSource, open_source

logger = logging.getLogger("spark_ctr")

KINDS = ("auto", "petastorm", "pyarrow")


class BlockReader(Protocol):
    """What a feed needs from a reader library."""

    kind: str
    source: ParquetSource

    def blocks(self, order_seed: int | None) -> Generator[Block, None, None]:
        """Yield every row group once, in ``source.order(order_seed)``; closing it frees all."""
        ...


class Feed:
    """Batches of the rows of some Parquet files, each row once per epoch.

    Attributes
    ----------
    rows : int
        Rows per epoch.
    kind : str
        Reader used: ``"petastorm"`` or ``"pyarrow"``.
    """

    def __init__(
        self,
        reader: BlockReader,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        shuffle_buffer_rows: int,
    ):
        self.kind = reader.kind
        self.rows = reader.source.rows
        self._reader = reader
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed % 2**64  # Spark seeds are signed longs, numpy's are not negative
        self._buffer_rows = shuffle_buffer_rows
        self._whole: Block | None = None  # all rows, once read, if they fit the buffer

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Iterate over one epoch.

        The order depends on (seed, epoch) only. If all rows fit the shuffle buffer it is one
        permutation of them, whatever the cut into row groups, and the rows are kept for later
        epochs; else row groups come in random order and rows are permuted buffer by buffer.
        Reader threads end with the iterator, also when it is closed early.

        Parameters
        ----------
        epoch : int
            Epoch number, from 0.

        Yields
        ------
        Batch
            New tensors of ``batch_size`` rows; the last batch may be shorter.

        Raises
        ------
        ValueError
            If a file cannot be decoded.
        RuntimeError
            If the files changed since the feed was opened.
        """
        if not self.rows:
            return
        random = np.random.default_rng([self._seed, epoch])
        if self.rows <= self._buffer_rows:
            if self._whole is None:
                self._whole = load_all(self._reader.blocks(None), self._empty(self.rows))
            order = random.permutation(self.rows) if self._shuffle else np.arange(self.rows)
            yield from batches_of(self._whole, order, self._batch_size)
        elif self._shuffle:
            blocks = self._reader.blocks(int(random.integers(2**32)))
            buffer = self._empty(max(self._buffer_rows, self._batch_size))
            yield from buffered_batches(blocks, buffer, self._batch_size, random.permutation)
        else:
            buffer = self._empty(self._batch_size)
            yield from buffered_batches(self._reader.blocks(None), buffer, self._batch_size, None)

    def _empty(self, rows: int) -> Block:
        source = self._reader.source
        return Block.empty(rows, source.n_ids, source.n_numeric)


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
) -> Feed:
    """Open a directory of Parquet files, or one file, for training.

    Parameters
    ----------
    path_or_url : str or os.PathLike
        Local path, ``file:`` URL, or a URI known to pyarrow or fsspec. The files, taken in the
        order of their names, hold ``c0..`` (int32), ``n0..`` , ``label`` and ``weight`` (float32).
    n_ids, n_numeric : int
        Number of ``c*`` and ``n*`` columns to read; either may be 0.
    kind : {"auto", "petastorm", "pyarrow"}
        Reader library; "auto" takes Petastorm where it can be used and the files are
        local, else pyarrow.
    batch_size : int
        Rows per batch.
    shuffle : bool
        False keeps the order of the files.
    seed : int
        Seed of the order, any int.
    shuffle_buffer_rows : int
        Rows permuted together, and held in memory.

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
    source = open_source(path_or_url, n_ids, n_numeric)
    return Feed(
        _reader(kind, source),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        shuffle_buffer_rows=shuffle_buffer_rows,
    )


def _reader(kind: str, source: ParquetSource) -> BlockReader:
    if kind == "petastorm":
        return PetastormReader(source)
    if kind == "pyarrow":
        return PyArrowReader(source)
    reason = why_not_petastorm()
    if reason is None and has_cut_path(source):
        reason = "it takes no '#' or '?' in a path"
    if reason is None and is_remote(source):
        reason = "the files are not local"
    reader: BlockReader = PyArrowReader(source) if reason else PetastormReader(source)
    _say_once(reader.kind, reason)
    return reader


@cache
def _say_once(kind: str, reason: str | None) -> None:
    """Log which reader "auto" took, once per process."""
    why = f" (not Petastorm: {reason})" if reason else ""
    logger.info("reading training data with %s%s", kind, why)

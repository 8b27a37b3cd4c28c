"""Row groups read with pyarrow, several at a time in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_ctr.training.feeds.block import Columns
from spark_ctr.training.feeds.source import ParquetSource, RowGroup, changed

_DTYPES: dict[pa.DataType, np.dtype[Any]] = {
    pa.int32(): np.dtype(np.int32),
    pa.float32(): np.dtype(np.float32),
    pa.float64(): np.dtype(np.float64),
}
_THREADS = min(os.cpu_count() or 1, 4)


class PyArrowReader:
    """Reads the row groups of a source with ``pyarrow.parquet``."""

    kind = "pyarrow"

    def __init__(self, source: ParquetSource):
        self.source = source

    def groups(
        self, order_seed: int | None, rank: int = 0, ranks: int = 1, skip: int = 0
    ) -> Generator[Columns, None, None]:
        """Yield the row groups ``source.order(order_seed, rank, ranks)[skip:]``.

        Threads decode ahead of the consumer; they end when the generator ends or is closed.

        Raises
        ------
        ValueError
            If a row group cannot be decoded or an id is null; names the file.
        RuntimeError
            If the files changed since they were opened.
        """
        pending: deque[Future[Columns]] = deque()
        threads = ThreadPoolExecutor(_THREADS, "spark_ctr-decode")
        try:
            for group in self.source.order(order_seed, rank, ranks)[skip:]:
                pending.append(threads.submit(self._read, group))
                if len(pending) > _THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _read(self, group: RowGroup) -> Columns:
        source = self.source
        path = source.file_of(group)
        try:
            with source.location.filesystem.open_input_file(path) as file:
                parquet = pq.ParquetFile(file, metadata=source.footers[group.file])
                table = parquet.read_row_group(
                    group.index, columns=source.layout.names, use_threads=False
                )
            columns = Columns.read(
                lambda name: _values(table.column(name)),
                source.layout,
            )
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"cannot read row group {group.index} of {path}: {error}") from error
        if columns.rows != group.rows:
            raise changed(path)
        return columns


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """Values of a column; ints with nulls become floats, a null float NaN."""
    if column.null_count or column.num_chunks != 1:
        return column.to_numpy()
    # The same without a copy: to_numpy imports pandas, which takes a second.
    (chunk,) = column.chunks
    dtype = _DTYPES[chunk.type]
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)

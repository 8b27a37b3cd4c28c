"""Row-group blocks read with pyarrow in a background thread."""

from __future__ import annotations

from collections.abc import Generator

import pyarrow as pa
import pyarrow.parquet as pq

from spark_ctr.training.feeds.block import Block
from spark_ctr.training.feeds.read_ahead import read_ahead
from spark_ctr.training.feeds.source import ParquetSource, RowGroup

_BLOCKS_AHEAD = 2


class PyArrowReader:
    """Reads the row groups of a source with ``pyarrow.parquet``."""

    kind = "pyarrow"

    def __init__(self, source: ParquetSource):
        self.source = source

    def blocks(self, order_seed: int | None) -> Generator[Block, None, None]:
        """Yield every non-empty row group once, in ``source.order(order_seed)``.

        Raises
        ------
        ValueError
            If a row group cannot be decoded or an id is null; names the file.
        """
        return read_ahead(self._read(self.source.order(order_seed)), _BLOCKS_AHEAD)

    def _read(self, groups: list[RowGroup]) -> Generator[Block, None, None]:
        for group in groups:
            path = self.source.file_of(group)
            try:
                block = self._read_group(path, group)
            except FileNotFoundError:
                raise
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ValueError(
                    f"cannot read row group {group.index} of {path}: {error}"
                ) from error
            yield block

    def _read_group(self, path: str, group: RowGroup) -> Block:
        source = self.source
        with source.location.filesystem.open_input_file(path) as file:
            parquet = pq.ParquetFile(file, metadata=source.footers[group.file])
            table = parquet.read_row_group(group.index, columns=source.columns)
        # to_numpy turns an int column with nulls into float, a float column's nulls into NaN.
        return Block.from_columns(
            lambda name: table.column(name).to_numpy(),
            table.num_rows,
            source.n_ids,
            source.n_numeric,
        )

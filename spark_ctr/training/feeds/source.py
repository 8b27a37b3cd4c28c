"""Footers of the Parquet files behind a feed: row groups, rows, schema checks."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from spark_ctr.location import Location, locate
from spark_ctr.training.feeds.block import Layout


@dataclass(frozen=True)
class RowGroup:
    """One row group: position of its file in ``location.files``, index in it, rows."""

    file: int
    index: int
    rows: int


@dataclass(frozen=True)
class ParquetSource:
    """Checked Parquet files and their row groups in file order."""

    location: Location
    layout: Layout
    footers: tuple[pq.FileMetaData, ...]
    row_groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        """Rows over all files."""
        return sum(group.rows for group in self.row_groups)

    def file_of(self, group: RowGroup) -> str:
        """Path of the file that holds ``group``."""
        return self.location.files[group.file]

    def rank_rows(self, ranks: int) -> list[int]:
        """Rows of each rank, see `order`."""
        return [sum(group.rows for group in self.row_groups[r::ranks]) for r in range(ranks)]

    def order(self, order_seed: int | None, rank: int = 0, ranks: int = 1) -> list[RowGroup]:
        """Non-empty row groups of one rank in reading order.

        Parameters
        ----------
        order_seed : int or None
            None for file order; else the seed of the shuffle. It is drawn as Petastorm draws it
            when it shards (``random.Random.shuffle`` of all row groups), so that both readers
            agree on the order.
        rank, ranks : int
            Of the row groups in file order, every ``ranks``-th from ``rank`` on, as Petastorm
            deals them.
        """
        order = list(range(len(self.row_groups)))
        if order_seed is not None:
            random.Random(order_seed).shuffle(order)
        mine = [self.row_groups[i] for i in order if i % ranks == rank]
        return [group for group in mine if group.rows]


def open_source(path_or_url: str | os.PathLike[str], layout: Layout) -> ParquetSource:
    """Read and check the footer of every file.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path_or_url``.
    ValueError
        If a file is not complete Parquet, or lacks a column, or has one of the wrong type.
    """
    location = locate(path_or_url)
    footers = tuple(_footer(location.filesystem, path) for path in location.files)
    for path, footer in zip(location.files, footers, strict=True):
        _check_schema(path, footer.schema.to_arrow_schema(), layout)
    groups = tuple(
        RowGroup(file, index, footer.row_group(index).num_rows)
        for file, footer in enumerate(footers)
        for index in range(footer.num_row_groups)
    )
    return ParquetSource(location, layout, footers, groups)


def changed(path: str) -> RuntimeError:
    """Error for a file that is no longer what its footer said."""
    return RuntimeError(f"{path} changed while it was read; open the feed again")


def _footer(filesystem: fs.FileSystem, path: str) -> pq.FileMetaData:
    try:
        with filesystem.open_input_file(path) as file:
            return pq.read_metadata(file)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a complete Parquet file ({error}); write it again"
        ) from error


def _check_schema(path: str, schema: pa.Schema, layout: Layout) -> None:
    ids = {*layout.ids}
    for name in layout.names:
        index = schema.get_field_index(name)
        if index < 0:
            raise ValueError(
                f"column {name} is missing from {path}, which has {', '.join(schema.names)}"
            )
        kind = schema.field(index).type
        if name in ids and kind != pa.int32():
            raise ValueError(f"column {name} of {path} is {kind}; cast it to int32 (Spark int)")
        if name not in ids and kind not in (pa.float32(), pa.float64()):
            raise ValueError(f"column {name} of {path} is {kind}; cast it to float32 (Spark float)")

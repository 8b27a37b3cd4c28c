"""One training file with its teacher's logits: what a task of Spark does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from spark_ctr.location import filesystem_of, read_file
from spark_ctr.networks.serialization import predictor_from_bytes
from spark_ctr.rows.training_rows import ROWS_PER_ROW_GROUP

# A predictor, and the columns of ids and of numbers that it reads.
Teacher = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Sequence[str], Sequence[str]]

_CHUNK = 8192  # rows that a network reads at a time


@dataclass(frozen=True)
class FileToLabel:
    """A file of rows, and where a copy with logits goes.

    Attributes
    ----------
    source, target : str
        URLs of files.
    draw : tuple of int
        Seed of the recombination of the rows; empty for the rows as they are.
    """

    source: str
    target: str
    draw: tuple[int, ...] = ()


@dataclass(frozen=True)
class Labelling:
    """What a task needs to know beside the networks' files.

    Attributes
    ----------
    teachers : tuple of (str, tuple of str, tuple of str)
        URL of each network's file, and the columns of ids and of numbers that it reads.
    kept : tuple of str
        Columns of the copies, label and weight included.
    groups : tuple of tuple of str
        All feature columns, those side by side that stay together in recombined rows.
    """

    teachers: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    kept: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()

    def __call__(self, file: FileToLabel) -> int:
        """Write the copy of a file, and return its rows.

        It has its name only when it is whole, and any attempt writes the same, so that neither a
        task that fails nor one that runs twice does harm.
        """
        teachers = [
            (predictor_from_bytes(read_file(url)), ids, numeric)
            for url, ids, numeric in self.teachers
        ]
        filesystem, path, _ = filesystem_of(file.target)
        folder, _, name = path.rpartition("/")
        filesystem.create_dir(folder, recursive=True)
        unfinished = f"{folder}/.{uuid.uuid4().hex}-{name}"
        try:
            rows = _write(filesystem, unfinished, self._labelled(file, teachers))
            _publish(filesystem, unfinished, path)
        finally:
            if filesystem.get_file_info(unfinished).type != fs.FileType.NotFound:
                filesystem.delete_file(unfinished)
        return rows

    def _labelled(self, file: FileToLabel, teachers: Sequence[Teacher]) -> Iterator[pa.Table]:
        for table in self._recombined(file) if file.draw else _row_groups(file.source):
            values = logits(table, teachers)
            # Rows without labels have one column of zeros for those of all tasks.
            absent = {name for name in self.kept if name.startswith("label")} - {
                *table.column_names
            }
            copy = table.select([name for name in self.kept if name not in absent])
            for task in range(values.shape[1]):
                copy = copy.append_column(f"t{task}", pa.array(values[:, task]))
            yield copy

    def _recombined(self, file: FileToLabel) -> Iterator[pa.Table]:
        """Yield as many rows as the file has, each group of columns from a row drawn for it."""
        drawn = np.random.default_rng(file.draw)
        names = [name for group in self.groups for name in group]
        filesystem, path, _ = filesystem_of(file.source)
        with filesystem.open_input_file(path) as opened:
            whole = pq.ParquetFile(opened).read(columns=names)
        values = {name: whole.column(name).to_numpy() for name in names}
        for start in range(0, whole.num_rows, ROWS_PER_ROW_GROUP):
            count = min(ROWS_PER_ROW_GROUP, whole.num_rows - start)
            columns = {"label": np.zeros(count, np.float32), "weight": np.ones(count, np.float32)}
            for group in self.groups:
                rows = drawn.integers(whole.num_rows, size=count)
                columns |= {name: values[name][rows] for name in group}
            yield pa.table(columns)


def logits(table: pa.Table, teachers: Sequence[Teacher]) -> np.ndarray:
    """Return the mean logits of predictors on the rows of a table; float32 [rows, T]."""
    found = [
        np.concatenate([predict(*part) for part in _parts(table, ids, numeric)])
        for predict, ids, numeric in teachers
    ]
    return np.mean(found, axis=0, dtype=np.float64).astype(np.float32)


def _parts(
    table: pa.Table, ids: Sequence[str], numeric: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield ids and numbers, some rows at a time; of no rows once, for their shape."""
    for at in range(0, max(table.num_rows, 1), _CHUNK):
        part = table.slice(at, _CHUNK)
        yield _matrix(part, ids, np.int32), _matrix(part, numeric, np.float32)


def _matrix(table: pa.Table, names: Sequence[str], dtype: type[np.generic]) -> np.ndarray:
    values = np.empty((table.num_rows, len(names)), dtype)
    for j, name in enumerate(names):
        values[:, j] = table.column(name).to_numpy()
    return values


def _row_groups(source: str) -> Iterator[pa.Table]:
    filesystem, path, _ = filesystem_of(source)
    with filesystem.open_input_file(path) as opened:
        parquet = pq.ParquetFile(opened)
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, use_threads=False)
        if not parquet.num_row_groups:
            yield parquet.schema_arrow.empty_table()


def _write(filesystem: fs.FileSystem, path: str, tables: Iterator[pa.Table]) -> int:
    """Write each table as a row group; return all rows."""
    rows, writer = 0, None
    with filesystem.open_output_stream(path) as file:
        for table in tables:
            writer = writer or pq.ParquetWriter(file, table.schema, compression="snappy")
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
        if writer is not None:
            writer.close()
    return rows


def _publish(filesystem: fs.FileSystem, unfinished: str, path: str) -> None:
    try:
        filesystem.move(unfinished, path)
    except OSError:
        # Some file systems replace nothing: another attempt was faster, with the same rows.
        if filesystem.get_file_info(path).type == fs.FileType.NotFound:
            raise

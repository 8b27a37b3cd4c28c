"""The folder of training files: made, read back on the driver, removed."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.fs
import pyarrow.parquet as pq
import xxhash

from spark_ctr.location import filesystem_of, locate
from spark_ctr.training.owners import is_left_behind, owner

logger = logging.getLogger("spark_ctr")

_BATCH_ROWS = 1 << 20
_PREFIX = "spark_ctr-"


@dataclass(frozen=True)
class LabelCounts:
    """Counts of rows by label, of one task; the weights are sums of the float32 weights.

    Of the rows whose label is not known, `young` have one that may still change. `row_weight` is
    the weight of the known ones without that of their labels.
    """

    zeros: int
    ones: int
    weight_zeros: float
    weight_ones: float
    young: int = 0
    row_weight: float = 0.0

    @property
    def known(self) -> int:
        """Rows whose label is known."""
        return self.zeros + self.ones

    @property
    def weight(self) -> float:
        """Weight of the rows whose label is known."""
        return self.weight_zeros + self.weight_ones


@dataclass(frozen=True)
class LabelledRows:
    """Counts of the rows of some files by label, and a digest of what they hold.

    The digest is equal where the columns hold the same values in the same order, however they are
    cut into files and row groups.
    """

    rows: int
    weight: float
    tasks: tuple[LabelCounts, ...]
    digest: str


def labelled_rows(
    folder: str,
    columns: Sequence[str],
    labels: Sequence[str] = ("label",),
    label_weights: Sequence[str] = (),
) -> LabelledRows:
    """Count and weigh the rows of a folder by each of `labels`, and digest its `columns`.

    Weights are those of the rows, times those of the labels where there are any.
    """
    counts = np.zeros((len(labels), 3), np.int64)
    weights, row_weights = np.zeros((len(labels), 2)), np.zeros(len(labels))
    total, whole_weight = 0, 0.0
    digests = [xxhash.xxh3_128() for _ in columns]
    names = list(dict.fromkeys([*labels, "weight", *label_weights, *columns]))
    for file in _files(folder):
        for batch in file.iter_batches(columns=names, batch_size=_BATCH_ROWS):
            weight = batch.column("weight").to_numpy().astype(np.float64)
            for task, name in enumerate(labels):
                column = batch.column(name)
                # A null, of a label that is not known, becomes nan too.
                label = column.to_numpy(zero_copy_only=False)
                counts[task, 2] += int(np.isnan(label).sum()) - column.null_count
                own = weight
                if label_weights:
                    own = weight * batch.column(label_weights[task]).to_numpy().astype(np.float64)
                for value in (0, 1):
                    found = label == value
                    counts[task, value] += int(found.sum())
                    weights[task, value] += own[found].sum()
                    row_weights[task] += weight[found].sum()
            total += batch.num_rows
            whole_weight += weight.sum()
            for name, digest in zip(columns, digests, strict=True):
                digest.update(batch.column(name).to_numpy(zero_copy_only=False).tobytes())
    whole = xxhash.xxh3_128(b"".join(d.digest() for d in digests))
    tasks = tuple(
        LabelCounts(int(n[0]), int(n[1]), float(w[0]), float(w[1]), int(n[2]), float(rows))
        for n, w, rows in zip(counts, weights, row_weights, strict=True)
    )
    # Of one task all labels are known, and their sum is what earlier versions scaled weights by.
    weight = tasks[0].weight if len(tasks) == 1 else float(whole_weight)
    return LabelledRows(total, weight, tasks, whole.hexdigest())


def row_count(folder: str) -> int:
    """Count the rows of a folder from the files' footers."""
    return sum(file.metadata.num_rows for file in _files(folder))


def reason_counts(folder: str) -> dict[int, int]:
    """Count the rows of a folder by ``reason``."""
    counts: dict[int, int] = {}
    for file in _files(folder):
        for batch in file.iter_batches(columns=["reason"]):
            for reason in batch.column(0).to_pylist():
                counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


def _files(folder: str) -> Iterator[pq.ParquetFile]:
    """Open the folder's files in the order in which they are trained on; none without a folder."""
    try:
        location = locate(folder)
    except FileNotFoundError:
        return
    folders = [path.rpartition("/")[0] for path in location.files]
    if len({*folders}) < len(folders):
        # Which of two files comes first would be for Spark to say, and not for the rows.
        raise RuntimeError(f"Spark wrote a file under {folder} in several parts")
    for path in location.files:
        with pq.ParquetFile(location.filesystem.open_input_file(path)) as file:
            yield file


def new_folder(cache_dir: str | None) -> str:
    """URI of a new folder; a plain path would mean the cluster's default file system to Spark.

    Folders beside it that killed processes of this machine left are removed.
    """
    parent = tempfile.gettempdir() if cache_dir is None else cache_dir
    _remove_left_behind(parent)
    prefix = f"{_PREFIX}{owner()}-"
    if cache_dir is None:
        return f"file://{tempfile.mkdtemp(prefix=prefix)}"
    _, _, url = filesystem_of(cache_dir)
    return f"{url}/{prefix}{uuid.uuid4().hex}"


def _remove_left_behind(parent: str) -> None:
    filesystem, path, url = filesystem_of(parent)
    try:
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        logger.debug("could not look for folders left behind in %s: %s", parent, error)
        return
    for entry in entries:
        if entry.base_name.startswith(_PREFIX) and is_left_behind(entry.base_name):
            logger.info("removing %s, left by a process that is no more", entry.path)
            remove_folder(f"{url}/{entry.base_name}")


def remove_folder(folder: str) -> None:
    """Remove a folder and what is in it; a failure is logged."""
    try:
        filesystem, path, _ = filesystem_of(folder)
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            shutil.rmtree(path, ignore_errors=True)
        elif filesystem.get_file_info(path).type != pyarrow.fs.FileType.NotFound:
            filesystem.delete_dir(path)
    except OSError as error:
        logger.warning("could not remove the training files under %s: %s", folder, error)

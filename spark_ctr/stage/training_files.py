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

from spark_ctr.training.feeds.location import filesystem_of

logger = logging.getLogger("spark_ctr")

_BATCH_ROWS = 1 << 20


@dataclass(frozen=True)
class LabelledRows:
    """Counts and weights of the rows of some files by label, and a digest of what they hold.

    The digest is equal where the columns hold the same values in the same order, however they are
    cut into files and row groups.
    """

    zeros: int
    ones: int
    digest: str
    weight_zeros: float = 0.0
    weight_ones: float = 0.0

    @property
    def rows(self) -> int:
        """All rows."""
        return self.zeros + self.ones


def labelled_rows(folder: str, columns: Sequence[str]) -> LabelledRows:
    """Count and weigh the rows of a folder by ``label`` and digest `columns`, in one pass."""
    ones = total = 0
    weight_ones = weight_zeros = 0.0
    digests = [xxhash.xxh3_128() for _ in columns]
    names = list(dict.fromkeys(["label", "weight", *columns]))
    for file in _files(folder):
        for batch in file.iter_batches(columns=names, batch_size=_BATCH_ROWS):
            label = batch.column("label").to_numpy()
            weight = batch.column("weight").to_numpy().astype(np.float64)
            ones += int(label.sum())
            weight_ones += float(weight[label > 0].sum())
            weight_zeros += float(weight[label == 0].sum())
            total += batch.num_rows
            for name, digest in zip(columns, digests, strict=True):
                digest.update(batch.column(name).to_numpy().tobytes())
    whole = xxhash.xxh3_128(b"".join(d.digest() for d in digests))
    return LabelledRows(total - ones, ones, whole.hexdigest(), weight_zeros, weight_ones)


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
    """Open the folder's files in the order of their names, which is that of their partitions."""
    filesystem, path, _ = filesystem_of(folder)
    selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
    for info in sorted(filesystem.get_file_info(selector), key=lambda info: info.path):
        if info.path.endswith(".parquet"):
            with pq.ParquetFile(filesystem.open_input_file(info.path)) as file:
                yield file


def new_folder(cache_dir: str | None) -> str:
    """URI of a new folder; a plain path would mean the cluster's default file system to Spark."""
    if cache_dir is None:
        return f"file://{tempfile.mkdtemp(prefix='spark_ctr-')}"
    _, _, url = filesystem_of(cache_dir)
    return f"{url}/spark_ctr-{uuid.uuid4().hex}"


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

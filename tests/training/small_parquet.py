"""Small Parquet files of training rows whose values tell which row they are of."""

import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from spark_ctr.training.feeds import open_feed
from spark_ctr.training.feeds.petastorm_feed import why_not_petastorm

NO_PETASTORM = why_not_petastorm()
petastorm_only = pytest.mark.skipif(NO_PETASTORM is not None, reason=f"Petastorm: {NO_PETASTORM}")
kinds = pytest.mark.parametrize(
    "kind", ["pyarrow", pytest.param("petastorm", marks=petastorm_only)]
)
ROWS = 1000


def rows_table(start, stop, tables=2, numeric=1):
    """Row i holds i in c0, -i in the other ids, i/2 in the numeric columns."""
    i = np.arange(start, stop)
    columns = {f"c{j}": (i if j == 0 else -i).astype(np.int32) for j in range(tables)}
    columns |= {f"n{j}": (i / 2).astype(np.float32) for j in range(numeric)}
    columns |= {"label": (i % 2).astype(np.float32), "weight": (i + 1).astype(np.float32)}
    return pa.table({"unused": [str(v) for v in i], **columns})


def write(directory, cuts=(0, 300, 310, ROWS), group=70, **shape):
    directory.mkdir(parents=True, exist_ok=True)
    for part, (start, stop) in enumerate(itertools.pairwise(cuts)):
        path = directory / f"part-{part:05d}-x.snappy.parquet"
        pq.write_table(rows_table(start, stop, **shape), path, row_group_size=group)
    (directory / "_SUCCESS").touch()
    (directory / ".part-00000.crc").write_bytes(b"x")
    return directory


def opened(path, kind="pyarrow", n_ids=2, n_numeric=1, **options):
    options = {"batch_size": 64, "shuffle": True, "seed": 7, **options}
    return open_feed(path, n_ids, n_numeric, kind=kind, **options)


def first_ids(feed, epoch=0):
    return torch.cat([batch.ids[:, 0] for batch in feed.batches(epoch)]).tolist()


def assert_same_batches(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        for name in ("ids", "numeric", "label", "weight"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def open_files():
    return len(os.listdir("/proc/self/fd"))

"""A log of Criteo's shape as training files, for `benchmarks.training_throughput` and `scaling`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_IDS, N_NUMERIC, DIM = 26, 13, 16
# 957,000 rows in all; Criteo's columns too hold from a few values to some hundred thousand.
TABLES = tuple(np.geomspace(4, 350_000, N_IDS).astype(int).tolist())
_FILES, _ROW_GROUP = 8, 32_768


def columns(
    random: np.random.Generator,
    rows: int,
    tables: Sequence[int] = TABLES,
    numeric: int = N_NUMERIC,
) -> dict[str, np.ndarray]:
    """Draw ``c0..`` (int32, Zipf's law of exponent 1), ``n0..``, ``label`` and ``weight``."""
    drawn = {}
    for column, size in enumerate(tables):
        ranks = np.exp(random.random(rows) * np.log(size + 1)).astype(np.int32)
        drawn[f"c{column}"] = ranks.clip(1, size) - 1
    for column in range(numeric):
        drawn[f"n{column}"] = random.standard_normal(rows, np.float32)
    drawn["label"] = (random.random(rows) < 0.25).astype(np.float32)
    drawn["weight"] = np.ones(rows, np.float32)
    return drawn


def write_log(
    folder: Path,
    rows: int,
    seed: int,
    tables: Sequence[int] = TABLES,
    numeric: int = N_NUMERIC,
) -> None:
    """Write some files with row groups as `spark_ctr.rows.training_data` writes them."""
    folder.mkdir(parents=True)
    edges = np.linspace(0, rows, _FILES + 1).astype(int)
    for file, count in enumerate(np.diff(edges)):
        random = np.random.default_rng([seed, file])
        table = pa.table(columns(random, int(count), tables, numeric))
        pq.write_table(table, folder / f"part-{file:05d}.parquet", row_group_size=_ROW_GROUP)

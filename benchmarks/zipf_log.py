"""A log of ten string columns with Zipf-distributed values, for benchmarks of counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = tuple(f"c{i}" for i in range(10))
EXPONENTS = tuple(1.2 + 0.1 * i for i in range(10))
LABEL = "label"
FILES = 8


def write_log(folder: str, rows: int, seed: int) -> None:
    """Write `rows` rows to eight Parquet files: c0 to c9 of exponents 1.2 to 2.1, and a 0/1 label.

    A value is "v" and a number, as text; the log of exponent 1.2 has some 440,000 different ones in
    4 million rows, that of exponent 2.1 some 2,000.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, size in enumerate(np.diff(np.linspace(0, rows, FILES + 1).astype(int))):
        rng = np.random.default_rng([seed, file])
        table = {
            name: pa.array(np.char.add("v", rng.zipf(exponent, size).astype(str)))
            for name, exponent in zip(COLUMNS, EXPONENTS, strict=True)
        }
        table[LABEL] = pa.array((rng.random(size) < 0.1).astype(np.int32))
        pq.write_table(pa.table(table), f"{folder}/part-{file}.parquet")

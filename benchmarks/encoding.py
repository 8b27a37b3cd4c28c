"""Encoding ten string columns to embedding rows, beside pyspark.ml and a pandas UDF.

The log is `benchmarks.zipf_log`, read from Parquet; every system writes to the ``noop`` sink, which
computes every value and keeps nothing. Each runs in a process and JVM of its own; ``warm`` are the
passes after two.

``spark_ctr`` is HashedEmbeddingEncoderModel: private rows for values seen ten times or more, two
hashed rows for others, one array<int>; with the jar of JVM functions, and without it. Peers:
``FeatureHasher`` (2^18 features) and ``StringIndexerModel`` of pyspark.ml; ``pandas UDF`` hashes
the ten columns with pandas (`pandas.util.hash_array`), modulo a table size, to an array<int>;
``xxhash64`` is the bare hash of the ten columns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.feature import FeatureHasher, StringIndexer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.frame import OURS, Record, cold_and_warm, in_new_process, run, spark_session
from benchmarks.zipf_log import COLUMNS, write_log
from spark_ctr.feature import HashedEmbeddingEncoder
from spark_ctr.jvm import session_settings

HASHER, INDEXER, PANDAS = "FeatureHasher", "StringIndexerModel", "pandas UDF"
HASHES, NO_JAR = "xxhash64 only", "spark_ctr, no jar"
ROWS = (4_000_000,)
BUCKETS = 1 << 18


@dataclass(frozen=True)
class Run:
    """One log and how often it is encoded."""

    master: str
    rows: int
    seed: int
    repeats: int
    folder: str

    def system(self, name: str) -> Iterator[Record]:
        """Measure one system."""
        more = session_settings() if name == OURS else {}
        spark = spark_session(self.master, "spark_ctr encoding", more)
        log = spark.read.parquet(f"file://{self.folder}")
        encoded = _ENCODED[name](log)

        def one_pass() -> None:
            encoded.write.format("noop").mode("overwrite").save()

        case = f"{self.rows:,} rows"
        yield from cold_and_warm(case, name, one_pass, self.repeats, self.seed)


def _ours(log: DataFrame) -> DataFrame:
    encoder = HashedEmbeddingEncoder(
        inputCols=list(COLUMNS), numericCols=[], minCount=10, numBuckets=4096, hashScheme="double"
    )
    return encoder.fit(log).transform(log).select("categoricalFeatures")


def _feature_hasher(log: DataFrame) -> DataFrame:
    hasher = FeatureHasher(inputCols=list(COLUMNS), outputCol="features", numFeatures=BUCKETS)
    return hasher.transform(log).select("features")


def _string_indexer(log: DataFrame) -> DataFrame:
    outputs = [f"{name}_index" for name in COLUMNS]
    indexer = StringIndexer(inputCols=list(COLUMNS), outputCols=outputs, handleInvalid="keep").fit(
        log
    )
    return indexer.transform(log).select(*outputs)


def _pandas_udf(log: DataFrame) -> DataFrame:
    def hash_all(*columns: pd.Series) -> pd.Series:
        hashed = [pd.util.hash_array(c.to_numpy(), categorize=True) % BUCKETS for c in columns]
        return pd.Series(list(np.stack(hashed, axis=1).astype(np.int32)))

    udf: Any = F.pandas_udf(hash_all, "array<int>")
    return log.select(udf(*COLUMNS))


def _hashes(log: DataFrame) -> DataFrame:
    return log.select(*[F.xxhash64(name) for name in COLUMNS])


_ENCODED: dict[str, Callable[[DataFrame], DataFrame]] = {
    OURS: _ours,
    HASHER: _feature_hasher,
    INDEXER: _string_indexer,
    PANDAS: _pandas_udf,
    HASHES: _hashes,
    NO_JAR: _ours,
}


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run all systems on every size and seed."""
    for seed in arguments.seeds:
        for rows in arguments.rows or ((20_000,) if arguments.quick else ROWS):
            with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
                write_log(folder, rows, seed)
                one = Run(arguments.master, rows, seed, 1 if arguments.quick else 5, folder)
                for system in _ENCODED:
                    yield from in_new_process(one.system, system)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", help="rows (default: 4 million)")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=OURS, options=_options)

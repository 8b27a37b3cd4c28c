"""Counting the values of ten columns and fitting a power law to each, beside what Spark offers.

The log is `benchmarks.zipf_log`: ten string columns of Zipf exponents 1.2 to 2.1 and a label, read
from Parquet. Each system runs in a process and JVM of its own; ``cold`` is its first run there,
``warm`` the runs after two more.

``spark_ctr`` counts every value with its positives (`count_columns`) and fits all ten columns; with
the jar of JVM functions, and without it by Spark's built-in functions. Peers: ``xxhash64`` hashes
the ten columns into the ``noop`` sink and counts nothing, the least that any counting by hash must
do; StringIndexer of pyspark.ml fits the ten columns (it counts, and collects every value);
``groupBy`` is the exact count of every value by one explode, without labels; duckdb, where it is
installed, counts the same files outside of Spark.

``up to ...`` shows where our time goes: each step with all steps before it, into the noop sink.

``distinct values`` counts one column in which every value is different, in a JVM with 1 GiB of
heap. Memory is the peak of driver, JVM and Python workers together, at all runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.ml.feature import StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import OURS, Record, cold_and_warm, in_new_process, run, spark_session
from benchmarks.measure import PeakMemory, seconds
from benchmarks.zipf_log import COLUMNS, LABEL, write_log
from spark_ctr.feature.column_statistics import count_columns
from spark_ctr.feature.value_counts import count_values
from spark_ctr.jvm import session_settings
from spark_ctr.power_law import column_stats

try:
    import duckdb
except ImportError:
    duckdb = None

HASHES, INDEXER = "xxhash64 only", "StringIndexer"
GROUP_BY, DUCKDB, NO_JAR = "groupBy", "duckdb", "spark_ctr, no jar"
STEPS = "steps of spark_ctr"
SYSTEMS = [OURS, HASHES, INDEXER, GROUP_BY, NO_JAR, DUCKDB, STEPS]
ROWS = (1_000_000, 4_000_000, 16_000_000)
DISTINCT = (10_000_000, 50_000_000)


@dataclass(frozen=True)
class Run:
    """One log and how often it is counted."""

    master: str
    rows: int
    seed: int
    repeats: int
    folder: str

    def session(self, jar: bool) -> SparkSession:
        """Start Spark, with or without the JVM functions."""
        more = session_settings() if jar else {}
        return spark_session(self.master, "spark_ctr counting", more)

    def system(self, name: str) -> Iterator[Record]:
        """Measure one system."""
        if name == DUCKDB:
            work = partial(_duckdb, self.folder)
        else:
            log = self.session(name == OURS).read.parquet(f"file://{self.folder}")
            work = partial(_WORK[name], log)
        yield from self._measure(f"{self.rows:,} rows", name, work)

    def steps(self) -> Iterator[Record]:
        """Measure how far our steps get."""
        log = self.session(True).read.parquet(f"file://{self.folder}")
        label = F.col(LABEL).cast("double")
        partial_counts = log.select(
            label.alias("label"), F.lit(0).alias("slice"), *map(_hash, COLUMNS)
        ).selectExpr(f"ctr_value_counts(label, slice, {', '.join(COLUMNS)})")
        for step, data in (
            ("hashes", log.select(*map(_hash, COLUMNS))),
            ("counts of a task", partial_counts),
            ("counts of all tasks", count_values(log, COLUMNS, label)),
        ):
            case = f"{self.rows:,} rows: up to {step}"
            yield from self._measure(case, OURS, partial(_noop, data))
        case = f"{self.rows:,} rows: up to histograms"
        yield from self._measure(case, OURS, lambda: count_columns(log, COLUMNS, LABEL, None))

    def distinct(self) -> Iterator[Record]:
        """Count one column of values that are all different."""
        settings = {**session_settings(), "spark.driver.memory": "1g"}
        spark = spark_session(self.master, "spark_ctr counting", settings)
        log = spark.range(0, self.rows, 1, 16).select(
            F.concat(F.lit("user "), F.col("id")).alias("id"), (F.col("id") % 2).alias(LABEL)
        )
        with PeakMemory() as memory:
            (taken,) = seconds(lambda: _count_and_fit(log, ["id"]))
        case = f"{self.rows:,} distinct values"
        yield Record(case, OURS, "time, cold", taken, "s", self.seed)
        yield Record(case, OURS, "peak memory", memory.mebibytes, "MiB", self.seed)

    def _measure(self, case: str, system: str, work: Callable[[], Any]) -> Iterator[Record]:
        return cold_and_warm(case, system, work, self.repeats, self.seed)


def _hash(name: str) -> Any:
    return F.when(F.col(name).isNotNull(), F.xxhash64(name)).alias(name)


def _noop(data: DataFrame) -> None:
    data.write.format("noop").mode("overwrite").save()


def _hash_only(log: DataFrame) -> None:
    _noop(log.select(*[F.xxhash64(name) for name in COLUMNS]))


def _count_and_fit(log: DataFrame, names: Any = COLUMNS) -> None:
    counted, _ = count_columns(log, names, LABEL, None)
    stats = [column_stats(n, c, 2, False, None) for n, c in zip(names, counted, strict=True)]
    assert all(s.histogram.n for s in stats)


def _index(log: DataFrame) -> None:
    outputs = [f"{name}_index" for name in COLUMNS]
    StringIndexer(inputCols=list(COLUMNS), outputCols=outputs).fit(log)


def _group(log: DataFrame) -> None:
    pairs = [F.struct(F.lit(i).alias("c"), F.col(n).alias("v")) for i, n in enumerate(COLUMNS)]
    counts = log.select(F.explode(F.array(*pairs)).alias("pair")).groupBy("pair.c", "pair.v")
    counts.count().groupBy("c", "count").count().collect()


def _duckdb(folder: str) -> None:
    query = " UNION ALL ".join(
        f"SELECT {i} AS c, n, count(*) "
        f"FROM (SELECT count(*) AS n FROM log GROUP BY {name}) GROUP BY n"
        for i, name in enumerate(COLUMNS)
    )
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute(f"CREATE VIEW log AS SELECT * FROM '{folder}/*.parquet'")
        database.execute(query).fetchall()


_WORK: dict[str, Callable[[DataFrame], None]] = {
    OURS: _count_and_fit,
    NO_JAR: _count_and_fit,
    HASHES: _hash_only,
    INDEXER: _index,
    GROUP_BY: _group,
}


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run all systems on every size and seed."""
    quick = arguments.quick
    systems = arguments.systems
    if duckdb is None and DUCKDB in systems:
        print("without duckdb, which is not installed")
        systems = [name for name in systems if name != DUCKDB]
    for seed in arguments.seeds:
        for rows in arguments.rows or ((20_000,) if quick else ROWS):
            with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
                write_log(folder, rows, seed)
                one = Run(arguments.master, rows, seed, 1 if quick else 5, folder)
                for system in systems:
                    if system == STEPS:
                        yield from in_new_process(one.steps)
                    else:
                        yield from in_new_process(one.system, system)
        distinct = ((50_000,) if quick else DISTINCT) if arguments.distinct is None else ()
        for rows in arguments.distinct or distinct:
            yield from in_new_process(Run(arguments.master, rows, seed, 1, "").distinct)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=SYSTEMS,
        default=SYSTEMS,
        help="what to run, xxhash64 at least (default: all)",
    )
    parser.add_argument("--rows", type=int, nargs="+", help="rows (default: 1, 4, 16 million)")
    parser.add_argument(
        "--distinct", type=int, nargs="*", help="distinct values (default: 10, 50 million)"
    )


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=HASHES, options=_options)

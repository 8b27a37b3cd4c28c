"""Cleaning a click log by `ClickLogCleanerModel`, with the JVM function and by Spark's functions.

The log is `spark_ctr.datasets.click_log`, read from Parquet; the cleaned columns go to the ``noop``
sink, which computes every value and keeps nothing. Every case is run warm: after two passes that
do not count. CPU time is that of driver, JVM and Python together.

``spark_ctr`` has the jar of JVM functions, ``spark_ctr, no jar`` takes Spark's built-in functions,
with the same results; ``reading only`` reads the same columns and cleans nothing. Each runs in a
process and JVM of its own. ``less reading`` is the difference of medians to reading alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.frame import OURS, Record, in_new_process, run, spark_session
from benchmarks.measure import cpu_seconds, seconds
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.feature import ClickLogCleaner
from spark_ctr.jvm import session_settings

READING, NO_JAR = "reading only", "spark_ctr, no jar"
SYSTEMS = (READING, NO_JAR, OURS)
CPU, RATE, LESS = "CPU time a row", "rows a second", "CPU time a row, less reading"
ROWS = 1_000_000
_FIT_ROWS = 50_000


@dataclass(frozen=True)
class Case:
    """Columns to clean.

    Attributes
    ----------
    name : str
    categorical, numeric : tuple of str
    timestamp : str or None
    transform : str
        Of the numeric columns.
    """

    name: str
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    timestamp: str | None = None
    transform: str = "log+quantile"

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        time = [] if self.timestamp is None else [self.timestamp]
        return [*self.categorical, *self.numeric, *time]

    def cleaner(self) -> ClickLogCleaner:
        """Return the stage."""
        cleaner = ClickLogCleaner(
            categoricalCols=list(self.categorical),
            numericCols=list(self.numeric),
            numericTransform=self.transform,
        )
        return cleaner if self.timestamp is None else cleaner.setTimestampCol(self.timestamp)


def cases() -> list[Case]:
    """Return what is cleaned: each kind of column, and all at once."""
    config = ClickLogConfig()
    identifiers = tuple(column.name for column in config.identifiers)
    constants = tuple(name for name, _ in config.constants)
    texts = ("request_id", *identifiers, *constants, "slot")
    numbers = tuple(column.name for column in config.numerics)
    return [
        Case(f"{len(texts)} categorical columns", texts),
        Case(f"{len(numbers)} numbers, standardised", (), numbers, transform="log"),
        Case(f"{len(numbers)} numbers, in buckets", (), numbers, transform="quantile"),
        Case("timestamp", timestamp="timestamp"),
        Case("all columns", texts, numbers, "timestamp"),
    ]


@dataclass(frozen=True)
class Run:
    """One log and how often it is cleaned."""

    master: str
    rows: int
    seed: int
    repeats: int
    folder: str

    def write(self) -> Iterator[Record]:
        """Write the log; measures nothing."""
        spark = spark_session(self.master, "spark_ctr cleaning")
        log = click_log(spark, self.rows, seed=self.seed, partitions=8)
        log.write.mode("overwrite").parquet(f"file://{self.folder}")
        yield from ()

    def system(self, name: str) -> Iterator[Record]:
        """Measure one system on all cases."""
        more = session_settings() if name == OURS else {}
        spark = spark_session(self.master, "spark_ctr cleaning", more)
        log = spark.read.parquet(f"file://{self.folder}")
        for case in cases():
            data = log.select(*case.columns)
            if name != READING:
                cleaned = case.cleaner().fit(log.limit(_FIT_ROWS)).transform(data)
                data = cleaned.select(*cleaned.columns[len(data.columns) :])
            writer = data.write.format("noop").mode("overwrite")
            seconds(writer.save, 2)
            for _ in range(self.repeats):
                before = cpu_seconds()
                (taken,) = seconds(writer.save)
                used = (cpu_seconds() - before) * 1e6 / self.rows
                yield Record(case.name, name, CPU, used, "µs", self.seed)
                yield Record(case.name, name, RATE, self.rows / taken, "", self.seed)


def _less_reading(records: list[Record]) -> Iterator[Record]:
    """Yield the medians of CPU time less that of reading alone."""
    used: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.metric == CPU:
            used.setdefault((record.case, record.system), []).append(record.value)
    for (case, system), values in used.items():
        if system != READING:
            more = statistics.median(values) - statistics.median(used[case, READING])
            yield Record(case, system, LESS, more, "µs", records[0].seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run all systems on every seed."""
    for seed in arguments.seeds:
        rows = arguments.rows or (20_000 if arguments.quick else ROWS)
        with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
            one = Run(arguments.master, rows, seed, 1 if arguments.quick else 5, folder)
            yield from in_new_process(one.write)
            records = []
            for system in SYSTEMS:
                for record in in_new_process(one.system, system):
                    records.append(record)
                    yield record
            yield from _less_reading(records)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help="rows (default: 1 million)")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=NO_JAR, options=_options)

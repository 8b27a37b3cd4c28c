r"""Scoring inside Spark, from the raw columns of a click log in Parquet to all outputs of a model.

The log is `spark_ctr.datasets.click_log`. Cleaner and encoder are fitted on a part of it; the
models are a student (`dnn` [128, 128, 64] with batch normalisation, dimension 8) and the same
quantised, with 1 bit in its last two hidden layers. **The weights are random**: the time does not
depend on them. Every part of the pipeline writes to the ``noop`` sink, which computes all columns
that are left and keeps nothing; only those that the part makes are left, and Spark prunes the rest.

CPU time is told apart by process: the JVM, and Spark's Python workers. The shares are differences
of both together between a part and the part before it: ``scan`` of the columns that are read,
``clean`` and ``encode`` from the log; and from stored features, so that no large numbers are
subtracted, ``crossing`` (to Python and back with a predictor that does nothing, outputs included),
``network``, ``vectors`` (rawPrediction and probability, above the prediction alone) and
``crossing and network``. ``rest`` is what a pass from the log costs above all these parts.

``start-up`` is the CPU time of the Python workers in a session's first query, of two rows in two
partitions. ``trigger`` is the median time of a streaming query's batches of 500 rows, one file
each, after the first three. ``32 tasks of 1,000 rows`` is a query of so many. They are of the
quantised student, the last also of one with a table of 64 MiB (``large model``).

The peer is pyspark.ml on the same rows: StringIndexer, FeatureHasher and LogisticRegression, fitted
on as many rows as cleaner and encoder. Ours and the peer run in processes and JVMs of their own.

To time an earlier commit as well, check it out beside this one, build its jar, and run this file
within that checkout, under another name; one file of records makes one table::

    git worktree add --detach EARLIER 44fc9e8 && (cd EARLIER && python jvm_udfs/build_jar.py)
    (cd EARLIER && PYTHONPATH=$PWD python HERE/benchmarks/udf_scoring.py --name 44fc9e8 --no-peer \
        --json FILE)
    python -m benchmarks.udf_scoring --json FILE
    python -m benchmarks.udf_scoring --table FILE
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from pyspark.ml import Pipeline
from pyspark.ml.feature import FeatureHasher
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import (
    OURS,
    Record,
    in_new_process,
    read_records,
    run,
    spark_session,
)
from benchmarks.measure import seconds
from benchmarks.spark_ml import SPARK_ML, logistic_regression, string_indexer
from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder
from spark_ctr.jvm import session_settings
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.quantization import QuantizedCTRClassificationModel
from spark_ctr.rows.training_columns import feature_inputs

LABEL = "click"
STUDENT: dict[str, Any] = {
    "network": "dnn",
    "hiddenLayers": [128, 128, 64],
    "embeddingDim": 8,
    "batchNorm": True,
}
ROWS, FIT_ROWS = 10_000_000, 200_000
QUICK_ROWS = 20_000
BATCHES, ROWS_OF_BATCH, FIRST = 23, 500, 3
SMALL_TASKS, ROWS_OF_TASK = 32, 1000
LARGE_ROWS = 1 << 23  # of a table of 64 MiB in 8 bits
PEER_ITERATIONS = 5
OUTPUTS = ("rawPrediction", "probability", "prediction")
FEATURES = ("categoricalFeatures", "numericFeatures")
_NOTHING = "constant_predictor:predictor_from_bytes"

Cpu = tuple[float, float]  # of the JVM and of Spark's Python workers, in seconds


@dataclass(frozen=True)
class Job:
    """One log, one seed, and the name under which spark_ctr is measured."""

    master: str
    rows: int
    passes: int
    seed: int
    name: str
    folder: str
    parts: bool = True
    large_rows: int = LARGE_ROWS

    def write(self) -> Iterator[Record]:
        """Write the log, a part of it to fit on, and small files for a stream."""
        spark = self._session()
        click_log(spark, self.rows, seed=self.seed, partitions=8).write.parquet(self._path("log"))
        fitted_on = click_log(spark, min(self.rows, FIT_ROWS), seed=self.seed + 1, partitions=2)
        fitted_on.write.parquet(self._path("fit"))
        few = click_log(spark, BATCHES * ROWS_OF_BATCH, seed=self.seed + 2, partitions=BATCHES)
        few.write.parquet(self._path("stream"))
        yield from ()

    def ours(self) -> Iterator[Record]:
        """Measure the parts, both models, the start of the workers and a stream."""
        here = str(Path(__file__).parent)
        os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), here])
        spark = self._session()
        cleaner, encoder = self._features(spark)
        log = spark.read.parquet(self._path("log")).select(*_columns())
        cleaned = cleaner.transform(log)
        encoded = encoder.transform(cleaned)
        inputs = feature_inputs(encoded, *FEATURES)
        student, quantised = models(inputs, self.seed)
        yield from self._start_up(spark, quantised)
        read = [*(one.name for one in inputs.tables), *inputs.numeric]
        yield self._record("latency", "trigger", self._trigger(cleaner, encoder, quantised), "ms")
        yield from self._small_tasks(spark, quantised)
        columns = Inputs((Table("item", self.large_rows, STUDENT["embeddingDim"]),), ("price",))
        _, large = models(columns, self.seed)
        yield from self._small_tasks(spark, large, ", large model")
        if not self.parts:
            scored = quantised.transform(encoded).select(*OUTPUTS)
            yield from self._passes("quantised student", scored)
            return
        scan = yield from self._passes("scan", log)
        clean = yield from self._passes("clean", cleaned.select(*read))
        encode = yield from self._passes("encode", encoded.select(*FEATURES))
        encoded.select(*FEATURES).write.parquet(self._path("features"))
        features = spark.read.schema(encoded.select(*FEATURES).schema)
        stored = features.parquet(self._path("features"))
        scan_stored = yield from self._passes("features", stored)
        # Workers know networks by their bytes, so that which does nothing needs other ones.
        idle, _ = models(inputs, self.seed + 1)
        idle._loader = _NOTHING
        crossing = yield from self._passes(
            "features, nothing", idle.transform(stored).select(*OUTPUTS)
        )
        for name, model in (("quantised student", quantised), ("student", student)):
            scored = model.transform(stored)
            every = yield from self._passes(f"features, {name}", scored.select(*OUTPUTS))
            one = yield from self._passes(
                f"features, {name}, prediction", scored.select(OUTPUTS[-1])
            )
            whole = yield from self._passes(name, model.transform(encoded).select(*OUTPUTS))
            shares = {
                "scan": scan,
                "clean": clean - scan,
                "encode": encode - clean,
                "crossing": crossing - scan_stored,
                "network": every - crossing,
                "vectors": every - one,
                "crossing and network": every - scan_stored,
                "rest": whole - encode - (every - scan_stored),
            }
            for part, value in shares.items():
                yield self._record(f"{name}, share of CPU", part, value, "µs")

    def peer(self) -> Iterator[Record]:
        """Measure what pyspark.ml offers."""
        spark = self._session()
        model = indexed_regression().fit(spark.read.parquet(self._path("fit")))
        scored = model.transform(spark.read.parquet(self._path("log"))).select(*OUTPUTS)
        yield from self._passes("quantised student", scored, SPARK_ML)

    def _session(self) -> SparkSession:
        settings = session_settings() | {"spark.sparkCtr.checkWorkers": "false"}
        return spark_session(self.master, "spark_ctr scoring", settings)

    def _path(self, name: str) -> str:
        return f"file://{self.folder}/{name}"

    def _features(self, spark: SparkSession) -> tuple[Any, Any]:
        """Cleaner and encoder, fitted."""
        fitted_on = spark.read.parquet(self._path("fit"))
        config = ClickLogConfig()
        cleaner = ClickLogCleaner(
            categoricalCols=_categorical(),
            numericCols=[column.name for column in config.numerics],
            timestampCol="timestamp",
        ).fit(fitted_on)
        encoder = HashedEmbeddingEncoder(seed=self.seed).fit(cleaner.transform(fitted_on))
        return cleaner, encoder

    def _passes(
        self, case: str, frame: DataFrame, system: str = ""
    ) -> Generator[Record, None, float]:
        """Time passes over a frame after one more; return the CPU time of a row, in µs."""

        def one_pass() -> None:
            frame.write.format("noop").mode("overwrite").save()

        one_pass()
        found = []
        for _ in range(self.passes):
            before = cpu_seconds_by_kind()
            (wall,) = seconds(one_pass)
            jvm, python = np.subtract(cpu_seconds_by_kind(), before) / self.rows * 1e6
            found.append(float(jvm + python))
            values = {"JVM CPU": jvm, "Python CPU": python, "wall": wall / self.rows * 1e6}
            for metric, value in values.items():
                yield self._record(case, metric, float(value), "µs", system)
        return statistics.median(found)

    def _start_up(self, spark: SparkSession, model: Any) -> Iterator[Record]:
        """CPU time of two Python workers that score a row each."""
        scored = _scored(spark, model, rows=2, tasks=2)
        before = cpu_seconds_by_kind()
        scored.write.format("noop").mode("overwrite").save()
        used = np.subtract(cpu_seconds_by_kind(), before)
        yield self._record("start-up", "Python CPU, two workers", float(used[1]), "s")

    def _small_tasks(self, spark: SparkSession, model: Any, kind: str = "") -> Iterator[Record]:
        """Time queries of many tasks."""
        scored = _scored(spark, model, rows=SMALL_TASKS * ROWS_OF_TASK, tasks=SMALL_TASKS)
        metric = f"{SMALL_TASKS} tasks of {ROWS_OF_TASK:,} rows{kind}"
        for _ in range(self.passes):
            (wall,) = seconds(scored.write.format("noop").mode("overwrite").save)
            yield self._record("latency", metric, wall, "s")

    def _trigger(self, cleaner: Any, encoder: Any, model: Any) -> float:
        """Median milliseconds of a batch of a stream."""
        spark = cleaner.report.sparkSession
        path = self._path("stream")
        stream = spark.readStream.schema(spark.read.parquet(path).schema)
        log = stream.option("maxFilesPerTrigger", 1).parquet(path)
        scored = model.transform(encoder.transform(cleaner.transform(log))).select(*OUTPUTS)
        spark.conf.set("spark.sql.streaming.numRecentProgressUpdates", 2 * BATCHES)
        with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as checkpoint:
            writer = scored.writeStream.format("noop").option("checkpointLocation", checkpoint)
            query = writer.trigger(availableNow=True).start()
            query.awaitTermination()
            reports = query.recentProgress
        progress = [one if isinstance(one, dict) else json.loads(one.json) for one in reports]
        taken = [one["durationMs"]["triggerExecution"] for one in progress if one["numInputRows"]]
        return float(statistics.median(taken[FIRST:]))

    def _record(self, case: str, metric: str, value: float, unit: str, system: str = "") -> Record:
        case = f"{self.rows:,} rows: {case}"
        return Record(case, system or self.name, metric, value, unit, self.seed)


def _scored(spark: SparkSession, model: Any, rows: int, tasks: int) -> DataFrame:
    """Return scores of equal rows in so many tasks."""
    ids = F.array_repeat(F.lit(0), model.inputs.ids_width)
    numbers = F.array_repeat(F.lit(0.0), len(model.inputs.numeric))
    row = [made.alias(name) for made, name in zip((ids, numbers), FEATURES, strict=True)]
    return model.transform(spark.range(0, rows, 1, tasks).select(*row)).select(*OUTPUTS)


def _categorical() -> list[str]:
    config = ClickLogConfig()
    return [*(c.name for c in config.identifiers), *(name for name, _ in config.constants), "slot"]


def _columns() -> list[str]:
    """Columns of the log that the cleaner reads."""
    return [*_categorical(), *(c.name for c in ClickLogConfig().numerics), "timestamp"]


def indexed_regression() -> Pipeline:
    """Return `logistic_regression` with every categorical value given a number first."""
    prepare_log, hasher, regression = logistic_regression(LABEL, PEER_ITERATIONS).getStages()
    assert isinstance(hasher, FeatureHasher)
    columns, categorical = hasher.getInputCols(), hasher.getCategoricalCols()
    indexer = string_indexer(categorical)
    indexed = indexer.getOutputCols()
    hasher.setInputCols(indexed + [name for name in columns if name not in categorical])
    hasher.setCategoricalCols(indexed)
    return Pipeline(stages=[prepare_log, indexer, hasher, regression])


def models(inputs: Inputs, seed: int) -> tuple[CTRClassificationModel, Any]:
    """Return the student and the quantised student, of random weights."""
    classifier = CTRClassifier(**STUDENT)
    columns, config = classifier.network_inputs(inputs), classifier.network_config()
    network = build_network("dnn", columns, config, seed=seed)
    layers = quantisable_layers(network)
    binary = [name for name in layers if "hidden_1" in name or "hidden_2" in name]
    plan = {name: "binary" if name in binary else "int8" for name in layers}
    packed = pack_network(prepare(network, plan, _rows(inputs, seed)))
    student = CTRClassificationModel()._with(network, None)
    return student, QuantizedCTRClassificationModel()._with(packed, None)  # type: ignore[arg-type]


def _rows(inputs: Inputs, seed: int, rows: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and numbers, drawn, to which the quantised student's steps are fitted."""
    draw = np.random.default_rng(seed)
    most = [table.rows for table in inputs.slot_tables]
    ids = draw.integers(0, most, (rows, inputs.ids_width), dtype=np.int32)
    numbers = draw.standard_normal((rows, len(inputs.numeric))).astype(np.float32)
    return torch.from_numpy(ids), torch.from_numpy(numbers)


def cpu_seconds_by_kind() -> Cpu:
    """CPU time so far of the JVMs, and of the Python processes, that this process started."""
    jvm = python = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times, java = process.cpu_times(), process.name() == "java"
        except psutil.NoSuchProcess:
            continue
        if java:
            jvm += times.user + times.system
        else:  # workers that ended count with the daemon that they were forked by
            python += times.user + times.system + times.children_user + times.children_system
    return jvm, python


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run our systems and the peer."""
    if arguments.table is not None:
        yield from read_records(arguments.table)
        return
    quick = arguments.quick
    rows, passes = arguments.rows or (QUICK_ROWS if quick else ROWS), 1 if quick else 3
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
            parts = not arguments.end_to_end
            large = LARGE_ROWS >> 6 if quick else LARGE_ROWS
            job = Job(arguments.master, rows, passes, seed, arguments.name, folder, parts, large)
            for part in (job.write, job.ours, *([] if arguments.no_peer else [job.peer])):
                yield from in_new_process(part)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help="rows to score (default: 10 million)")
    parser.add_argument("--name", default=OURS, help="what to call spark_ctr in the records")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="print the table of records, measure nothing"
    )
    parser.add_argument(
        "--end-to-end", action="store_true", help="of ours the quantised student as a whole alone"
    )
    parser.add_argument("--no-peer", action="store_true", help="leave pyspark.ml out")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=OURS, options=_options)

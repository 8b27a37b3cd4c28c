"""Scoring inside Spark, from the raw columns of a click log in Parquet to all outputs of a model.

The log is `spark_ctr.datasets.click_log`. Cleaner and encoder are fitted on a part of it; the
models are a student (`dnn` [128, 128, 64] with batch normalisation, dimension 8) and the same one
quantised, 1-bit in its last two hidden layers. **The weights are random**: the time does not depend
on them. Every system writes to the ``noop`` sink, which computes every column that is left and keeps
nothing; only what the model adds is left, so that Spark prunes the rest.

Each system runs in a process and JVM of its own. ``share`` are differences of the CPU time of
growing parts of the pipeline: scan of the columns that are read, ``clean``, ``encode``, then
``crossing`` with a predictor that does nothing, and ``network``; the outputs count with the
crossing, where half of ``outputs`` (that of the predictions without probability) says what they
are. CPU time is told apart by process: the JVM, and Spark's Python workers. ``start-up`` is the
CPU time of the Python workers in a first query of two rows in two partitions, and ``trigger`` the
median time of a streaming query's batches of 500 rows, one file each, after the first three.

The peer is pyspark.ml on the same rows: StringIndexer, FeatureHasher and LogisticRegression, fitted
on as many rows as cleaner and encoder.

To time an earlier commit, check it out beside this one, build its jar, and run this file with that
checkout in front, under another name::

    PYTHONPATH=EARLIER python benchmarks/udf_scoring.py --name EARLIER --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyspark.ml import Model, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import FeatureHasher, SQLTransformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import OURS, Record, in_new_process, run, spark_session
from benchmarks.measure import seconds
from benchmarks.spark_ml import SPARK_ML, logistic_regression, string_indexer
from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder
from spark_ctr.jvm import session_settings
from spark_ctr.networks import Inputs, build_network
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
        log = spark.read.parquet(self._path("log"))
        log = log.select(*_columns())
        cleaned = cleaner.transform(log)
        encoded = encoder.transform(cleaned)
        inputs = feature_inputs(encoded, *FEATURES)
        student, quantised = models(inputs, self.seed)
        yield from self._start_up(spark, quantised)
        read = [*(table.name for table in inputs.tables), *inputs.numeric]
        parts = {"scan": log, "clean": cleaned.select(*read), "encode": encoded.select(*FEATURES)}
        spent: dict[str, np.ndarray] = {}
        for name, part in parts.items():
            spent[name] = yield from self._passes(name, part)
        for name, model in (("quantised student", quantised), ("student", student)):
            outputs = _outputs(model)
            for part, loader in (("nothing", _NOTHING), (name, model._loader)):
                model._loader = loader
                scored = model.transform(encoded).select(*outputs)
                spent[part] = yield from self._passes(f"to probability, {part}", scored)
            spent["one"] = yield from self._passes(
                f"to the prediction, {name}", model.transform(encoded).select(outputs[-1])
            )
            shares = {
                "scan": spent["scan"],
                "clean": spent["clean"] - spent["scan"],
                "encode": spent["encode"] - spent["clean"],
                "crossing": spent["nothing"] - spent["encode"],
                "network": spent[name] - spent["nothing"],
                "vectors": spent[name] - spent["one"],
                "crossing and network": spent[name] - spent["encode"],
            }
            for part, values in shares.items():
                yield self._record(f"share of CPU, {name}", f"{part}", float(values.sum()), "µs")
        yield self._record("latency", "trigger", self._trigger(cleaner, encoder, quantised), "ms")

    def peer(self) -> Iterator[Record]:
        """Measure what pyspark.ml offers."""
        spark = self._session()
        fitted_on = spark.read.parquet(self._path("fit"))
        prepare_sql, hasher, regression = logistic_regression(LABEL, 5).getStages()
        assert isinstance(hasher, FeatureHasher) and isinstance(regression, LogisticRegression)
        assert isinstance(prepare_sql, SQLTransformer)
        categorical = hasher.getCategoricalCols()
        indexer = string_indexer([name for name in categorical])
        indexed = indexer.getOutputCols()
        hasher.setInputCols([*indexed, *(c for c in hasher.getInputCols() if c not in categorical)])
        hasher.setCategoricalCols(indexed)
        stages: list[Any] = []
        for stage in (prepare_sql, indexer, hasher, regression):
            fitted = stage.fit(fitted_on) if hasattr(stage, "fit") else stage
            fitted_on = fitted.transform(fitted_on)
            stages.append(fitted)
        log = spark.read.parquet(self._path("log"))
        scored = PipelineModel(stages).transform(log)
        outputs = ["rawPrediction", "probability", "prediction"]
        yield from self._passes("to probability", scored.select(*outputs), SPARK_ML)

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

    def _passes(self, case: str, frame: DataFrame, system: str = "") -> Any:
        """Time passes over a frame after one more; return the CPU time a row, in µs."""

        def one_pass() -> None:
            frame.write.format("noop").mode("overwrite").save()

        one_pass()
        found = []
        for _ in range(self.passes):
            before = cpu_seconds_by_kind()
            (wall,) = seconds(one_pass)
            used = np.subtract(cpu_seconds_by_kind(), before) / self.rows * 1e6
            found.append(used)
            values = {"JVM CPU": used[0], "Python CPU": used[1], "wall": wall / self.rows * 1e6}
            for metric, value in values.items():
                yield self._record(case, metric, float(value), "µs", system)
        return np.median(found, axis=0)

    def _start_up(self, spark: SparkSession, model: Any) -> Iterator[Record]:
        """CPU time of two Python workers that score a row each."""
        ids = F.array_repeat(F.lit(0), model.inputs.ids_width)
        numbers = F.array_repeat(F.lit(0.0), len(model.inputs.numeric))
        row = [made.alias(name) for made, name in zip((ids, numbers), FEATURES, strict=True)]
        rows = spark.range(0, 2, 1, 2).select(*row)
        scored = model.transform(rows).select(*_outputs(model))
        before = cpu_seconds_by_kind()
        scored.write.format("noop").mode("overwrite").save()
        used = np.subtract(cpu_seconds_by_kind(), before)
        yield self._record("start-up", "Python CPU, two workers", float(used[1]), "s")

    def _trigger(self, cleaner: Any, encoder: Any, model: Any) -> float:
        """Median milliseconds of a batch of a stream."""
        spark = cleaner.report.sparkSession
        path = self._path("stream")
        stream = spark.readStream.schema(spark.read.parquet(path).schema)
        log = stream.option("maxFilesPerTrigger", 1).parquet(path)
        scored = model.transform(encoder.transform(cleaner.transform(log))).select(*_outputs(model))
        spark.conf.set("spark.sql.streaming.numRecentProgressUpdates", 2 * BATCHES)
        with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as checkpoint:
            writer = scored.writeStream.format("noop").option("checkpointLocation", checkpoint)
            query = writer.trigger(availableNow=True).start()
            query.awaitTermination()
            progress = [json.loads(p.json) if hasattr(p, "json") else p for p in _progress(query)]
        taken = [p["durationMs"]["triggerExecution"] for p in progress if p["numInputRows"]]
        return float(statistics.median(taken[FIRST:]))

    def _record(
        self, case: str, metric: str, value: float, unit: str, system: str = ""
    ) -> Record:
        case = f"{self.rows:,} rows: {case}"
        return Record(case, system or self.name, metric, value, unit, self.seed)


def _progress(query: Any) -> list[Any]:
    return list(query.recentProgress)


def _categorical() -> list[str]:
    config = ClickLogConfig()
    return [*(c.name for c in config.identifiers), *(name for name, _ in config.constants), "slot"]


def _columns() -> list[str]:
    """Columns of the log that the cleaner reads."""
    return [*_categorical(), *(c.name for c in ClickLogConfig().numerics), "timestamp"]


def _outputs(model: Any) -> list[str]:
    names = model.getRawPredictionCol(), model.getProbabilityCol(), model.getPredictionCol()
    return list(names)


def models(inputs: Inputs, seed: int) -> tuple[CTRClassificationModel, Any]:
    """Return the student and the quantised student, of random weights."""
    classifier = CTRClassifier(**STUDENT)
    columns, config = classifier.network_inputs(inputs), classifier.network_config()
    network = build_network("dnn", columns, config, seed=seed)
    layers = quantisable_layers(network)
    binary = [name for name in layers if "hidden_1" in name or "hidden_2" in name]
    plan = {name: "binary" if name in binary else "int8" for name in layers}
    packed = pack_network(prepare(network, plan))
    student = CTRClassificationModel()._with(network, None)
    return student, QuantizedCTRClassificationModel()._with(packed, None)  # type: ignore[arg-type]


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
    quick = arguments.quick
    rows, passes = arguments.rows or (QUICK_ROWS if quick else ROWS), 1 if quick else 3
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
            job = Job(arguments.master, rows, passes, seed, arguments.name, folder)
            for part in (job.write, job.ours, *([] if arguments.no_peer else [job.peer])):
                yield from in_new_process(part)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help="rows to score (default: 10 million)")
    parser.add_argument("--name", default=OURS, help="what to call spark_ctr in the records")
    parser.add_argument("--no-peer", action="store_true", help="leave pyspark.ml out")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=OURS, options=_options)

"""Time, CPU time and memory of each stage of the main job, from a click log to quantised scores.

The data are `spark_ctr.datasets.click_log`: ``--rows`` rows to train on and a quarter as many, of
another seed, to test on, written once to Parquet files in a temporary folder. The writing, our job
and the peer's run in processes of their own, one after the other, each with a new JVM.

The stages are fitted one after the other as a Pipeline fits them, each on the lazy output of the
ones before. So a ``fit`` is the call alone, but includes reading the files and the transforms of
the earlier stages as often as the stage reads its input; for the classifiers it also includes
writing their training files. Teacher, student and quantised student each train on what came
before: the distiller gets the fitted teacher, the quantiser the fitted student. (Nested in one
another they would write the training files once instead of three times.) ``all fits`` is the sum.

``encode`` and ``score`` are passes over the training and the test rows to Spark's ``noop`` sink,
which computes every column and keeps nothing; Python workers have started in an earlier pass, that
of the AUC. Scoring starts at the raw columns of the log; ``score, quantised`` and the peer's use
the PipelineModel as saved and loaded. Memory is the peak of driver, JVM and Python workers together
during the step; a JVM (3 GiB of heap at most) keeps what earlier steps made it take.

The peer is pyspark.ml on the same rows: FeatureHasher with LogisticRegression as a job of its own,
and StringIndexer on the input and the columns of our encoder. ``auc`` is on the test rows; ``best
reachable`` is the AUC of the true click probability, which no model can beat on average.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import OURS, Record, in_new_process, run, spark_session
from benchmarks.measure import PeakMemory, cpu_seconds, seconds
from benchmarks.spark_ml import SPARK_ML, logistic_regression, string_indexer
from spark_ctr.classification import CTRClassifier
from spark_ctr.datasets import ClickLogConfig, best_auc, click_log
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.jvm import session_settings
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.training.metrics import roc_auc

LABEL = "click"
ROWS = (1_000_000, 4_000_000)
QUICK_ROWS = (50_000,)
PEER_ITERATIONS = 50

Cost = np.ndarray  # float64 [2]: time and CPU time in seconds
T = TypeVar("T")
Measured = Generator[Record, None, T]


@dataclass(frozen=True)
class Job:
    """The main job and its peer on one size of data and one seed.

    Attributes
    ----------
    master : str
        Spark master.
    rows : int
        Training rows.
    seed : int
        Of the data and of every stage.
    epochs : int
        Of each of the three trainings.
    passes : int
        Passes of scoring and encoding that count.
    folder : str
        For data and models.
    """

    master: str
    rows: int
    seed: int
    epochs: int
    passes: int
    folder: str

    def write(self) -> Iterator[Record]:
        """Write the training and the test rows."""
        spark = self._session()
        for name, rows, seed in (
            ("train", self.rows, 2 * self.seed),
            ("test", self.rows // 4, 2 * self.seed + 1),
        ):
            log = click_log(spark, rows, seed=seed, partitions=8)
            log.write.parquet(f"file://{self.folder}/{name}")
        best = best_auc(self._read(spark, "test"))
        for model in ("teacher", "student", "quantised"):
            yield self._record(f"score, {model}", "best reachable", "auc", best, "")

    def ours(self) -> Iterator[Record]:
        """Fit, save, load and score."""
        spark = self._session()
        train, test = self._read(spark, "train"), self._read(spark, "test")
        features, selected, log, spent = yield from self._fit_features(train)
        yield from self._passes("encode", OURS, features[-1], selected, self.rows)
        teacher, student, quantised, more = yield from self._fit_models(log)
        for metric, total in zip(("time", "CPU time"), spent + more, strict=True):
            yield self._record("all fits", OURS, metric, float(total), "s")
        loaded = yield from self._save_and_load(OURS, PipelineModel([*features, quantised]))
        for name, model, pipeline in (
            ("teacher", teacher, PipelineModel([*features, teacher])),
            ("student", student, PipelineModel([*features, student])),
            ("quantised", quantised, loaded),
        ):
            yield self._record(f"score, {name}", OURS, "size", model.nbytes / 2**20, "MiB")
            yield from self._score(f"score, {name}", OURS, pipeline, test)

    def peer(self) -> Iterator[Record]:
        """Do with pyspark.ml what it can do of it; ours must have run."""
        spark = self._session()
        train, test = self._read(spark, "train"), self._read(spark, "test")
        pipeline = logistic_regression(LABEL, PEER_ITERATIONS)
        model, _ = yield from self._timed("all fits", SPARK_ML, lambda: pipeline.fit(train))
        loaded = yield from self._save_and_load(SPARK_ML, model)
        yield from self._score("score, quantised", SPARK_ML, loaded, test)
        features = PipelineModel.load(self._saved(OURS)).stages[:3]
        selected = PipelineModel(features[:2]).transform(train)
        indexer = string_indexer([table["name"] for table in features[2].tables])
        case = "HashedEmbeddingEncoder fit"
        indexed, _ = yield from self._timed(case, SPARK_ML, lambda: indexer.fit(selected))
        yield from self._passes("encode", SPARK_ML, indexed, selected, self.rows)

    def _session(self) -> SparkSession:
        return spark_session(self.master, "spark_ctr main job", session_settings())

    def _read(self, spark: SparkSession, name: str) -> DataFrame:
        return spark.read.parquet(f"file://{self.folder}/{name}")

    def _fit_features(
        self, log: DataFrame
    ) -> Measured[tuple[list[Any], DataFrame, DataFrame, Cost]]:
        """Return the models, the encoder's input and output, and what the fits cost."""
        config = ClickLogConfig()
        cleaner = ClickLogCleaner(
            categoricalCols=[
                "request_id",
                *(column.name for column in config.identifiers),
                *(name for name, _ in config.constants),
                "slot",
            ],
            numericCols=[column.name for column in config.numerics],
            timestampCol="timestamp",
        )
        selector = PowerLawFeatureSelector(labelCol=LABEL)
        models, inputs, spent = [], [log], np.zeros(2)
        for stage in (cleaner, selector, HashedEmbeddingEncoder(seed=self.seed)):
            model, cost = yield from self._fit(stage, inputs[-1])
            spent += cost
            models.append(model)
            inputs.append(model.transform(inputs[-1]))
        return models, inputs[-2], inputs[-1], spent

    def _fit_models(self, log: DataFrame) -> Measured[tuple[Any, Any, Any, Cost]]:
        """Return teacher, student and quantised student, and what the fits cost."""
        teacher, one = yield from self._fit(self._classifier("dcnv2", [256, 128, 64]), log)
        distiller = LayerwiseDistiller(
            teacher=teacher,
            student=self._classifier("dnn", [64, 64, 64]),
            hiddenEpochs=self.epochs,
        )
        student, two = yield from self._fit(distiller, log)
        quantizer = MixedPrecisionQuantizer(classifier=student, maxIter=self.epochs)
        quantised, three = yield from self._fit(quantizer, log)
        rounds = len([line for line in quantised.summary.extra["attempts"] if "AUC" in line])
        yield self._record("MixedPrecisionQuantizer fit", OURS, "rounds", float(rounds), "")
        return teacher, student, quantised, one + two + three

    def _classifier(self, network: str, hidden_layers: list[int]) -> CTRClassifier:
        return CTRClassifier(
            labelCol=LABEL,
            network=network,
            hiddenLayers=hidden_layers,
            maxIter=self.epochs,
            seed=self.seed,
            device="cpu",
            verbose=False,
        )

    def _fit(self, stage: Any, log: DataFrame) -> Measured[tuple[Any, Cost]]:
        case = f"{type(stage).__name__} fit"
        return (yield from self._timed(case, OURS, lambda: stage.fit(log)))

    def _saved(self, system: str) -> str:
        return f"file://{self.folder}/{system}"

    def _save_and_load(self, system: str, model: PipelineModel) -> Measured[PipelineModel]:
        path = self._saved(system)
        yield from self._timed("save", system, lambda: model.save(path))
        loaded, _ = yield from self._timed("load", system, lambda: PipelineModel.load(path))
        return loaded

    def _score(
        self, case: str, system: str, model: PipelineModel, test: DataFrame
    ) -> Iterator[Record]:
        """Return the scores' AUC, in a first pass that starts the Python workers, then times."""
        score = vector_to_array(F.col("rawPrediction"))[1]
        scored = model.transform(test).select(F.col(LABEL), score.alias("score")).toPandas()
        yield self._record(case, system, "auc", roc_auc(scored[LABEL], scored["score"]), "")
        yield from self._passes(case, system, model, test, self.rows // 4)

    def _passes(
        self, case: str, system: str, model: Any, log: DataFrame, rows: int
    ) -> Iterator[Record]:
        def one_pass() -> None:
            model.transform(log).write.format("noop").mode("overwrite").save()

        for _ in range(self.passes):
            before = cpu_seconds()
            (taken,) = seconds(one_pass)
            used = cpu_seconds() - before
            yield self._record(case, system, "time per row", taken / rows * 1e6, "µs")
            yield self._record(case, system, "CPU time per row", used / rows * 1e6, "µs")

    def _timed(self, case: str, system: str, call: Callable[[], T]) -> Measured[tuple[T, Cost]]:
        """Call once; return the result and what it cost."""
        results: list[T] = []
        before = cpu_seconds()
        with PeakMemory() as memory:
            (taken,) = seconds(lambda: results.append(call()))
        used = cpu_seconds() - before
        yield self._record(case, system, "time", taken, "s")
        yield self._record(case, system, "CPU time", used, "s")
        yield self._record(case, system, "peak memory", memory.mebibytes, "MiB")
        return results[0], np.array([taken, used])

    def _record(self, case: str, system: str, metric: str, value: float, unit: str) -> Record:
        return Record(f"{self.rows:,} rows: {case}", system, metric, value, unit, self.seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run the job on every size and seed."""
    quick = arguments.quick
    effort = {"epochs": 1, "passes": 1} if quick else {"epochs": 3, "passes": 3}
    for rows in arguments.rows or (QUICK_ROWS if quick else ROWS):
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
                job = Job(arguments.master, rows, seed, folder=folder, **effort)
                for part in (job.write, job.ours, job.peer):
                    yield from in_new_process(part)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows", type=int, nargs="+", help="training rows (default: 1 and 4 million)"
    )


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=SPARK_ML, options=_options)

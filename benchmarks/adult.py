"""Quality, size and serving time of the main job's models on the bundled Adult data.

The models are those of ``make demo``, which trains one seed of them: columns have the roles that
``infer_roles`` gives them. The first three stages are fitted once on the official training rows.
For every seed a teacher, a student distilled from it, the same student trained from scratch, and
the quantised student are trained through the Spark stages and score the official test rows in
Spark; neither settings nor the best epoch are chosen on those. The student from scratch has dropout
0.1, the distilled one none: each what was best for it in cross-validation on the training rows.

``saved size`` is all files of the saved model, ``size`` its network's bytes. ``time per row`` is
the median over passes on one thread, in batches of 8,192 rows, on features that are encoded
already; the models take turns. ``fit`` is the wall time of teacher, student and quantiser together.
Rows named "... minus ..." and "... / ..." compare two of our models seed by seed.

The peers are scikit-learn's: one-hot logistic regression with standardised numbers, the same on
one-hot quantile buckets of the numbers, and histogram gradient boosting with native categories.
Their settings are chosen by the log loss on a tenth of the training rows, then they train on all;
ours leave a tenth out for the best epoch. Their ``size`` is that of coefficients or tree nodes.
They stand beside each of our models.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml import Pipeline
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.frame import OURS, Record, run, spark_session
from benchmarks.measure import seconds
from spark_ctr.classification import CTRClassifier
from spark_ctr.datasets import adult
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.feature import (
    ClickLogCleaner,
    HashedEmbeddingEncoder,
    PowerLawFeatureSelector,
    infer_roles,
)
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.report import microseconds_per_row, saved_bytes
from spark_ctr.training.metrics import calibration_of_logits, log_loss_of_logits, roc_auc

try:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler
except ImportError as error:
    sys.exit(f"benchmarks.adult needs scikit-learn for its peers ({error}): install scikit-learn")

LABEL = "income"
CATEGORICAL = [
    "workclass",
    "education",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
]
NUMERIC = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
LINEAR, BUCKETED, TREES = "one-hot LR", "one-hot LR on buckets", "HistGradientBoosting"
OUR_MODELS = ("teacher", "student from scratch", "distilled student", "quantised student")

Predictor = Callable[[Any], np.ndarray]


def teacher(seed: int, epochs: int) -> CTRClassifier:
    """Return the default classifier."""
    return _classifier(seed, epochs)


def student(seed: int, epochs: int, **settings: Any) -> CTRClassifier:
    """Return the small network."""
    small = {"network": "dnn", "hiddenLayers": [128, 128, 64], "dropout": 0.0}
    return _classifier(seed, epochs, **(small | settings))


def _classifier(seed: int, epochs: int, **settings: Any) -> CTRClassifier:
    return CTRClassifier(
        labelCol=LABEL, seed=seed, maxIter=epochs, device="cpu", verbose=False, **settings
    )


class OurModels:
    """The main job on the official split.

    Parameters
    ----------
    master : str
        Spark master.
    epochs : int
        Most epochs of teacher, student and quantiser.
    passes : int
        Timed passes over the test rows.
    """

    def __init__(self, master: str, epochs: int, passes: int) -> None:
        spark = spark_session(master, "spark_ctr on Adult")
        self.epochs, self.passes = epochs, passes
        found = infer_roles(adult(spark, "train"), {LABEL: "label"})
        categorical, numeric = (
            [role.column for role in found if role.role == kind]
            for kind in ("categorical", "numeric")
        )
        cleaner = ClickLogCleaner(categoricalCols=categorical, numericCols=numeric)
        stages = [cleaner, PowerLawFeatureSelector(labelCol=LABEL), HashedEmbeddingEncoder()]
        features = Pipeline(stages=stages).fit(adult(spark, "train"))
        self.train, self.test = (
            features.transform(adult(spark, split)).persist() for split in ("train", "test")
        )
        encoder = features.stages[-1]
        rows = self.test.select(
            encoder.getCategoricalFeaturesCol(), encoder.getNumericFeaturesCol()
        ).toPandas()
        self.ids = np.array(rows.iloc[:, 0].tolist(), dtype=np.int32)
        self.numbers = np.array(rows.iloc[:, 1].tolist(), dtype=np.float32)

    def records(self, seed: int) -> Iterator[Record]:
        """Train and measure the four models of a seed."""
        models: dict[str, Any] = {}
        quantiser = MixedPrecisionQuantizer(
            classifier=LayerwiseDistiller(
                teacher=teacher(seed, self.epochs), student=student(seed, self.epochs)
            ),
            maxIter=min(self.epochs, MixedPrecisionQuantizer().getMaxIter()),
        )
        (fit,) = seconds(lambda: models.update({OUR_MODELS[3]: quantiser.fit(self.train)}))
        models[OUR_MODELS[2]] = models[OUR_MODELS[3]].fullPrecisionModel
        models[OUR_MODELS[0]] = models[OUR_MODELS[2]].teacher
        alone = student(seed, self.epochs, dropout=0.1)
        models[OUR_MODELS[1]] = alone.fit(self.train)
        yield Record(OUR_MODELS[3], OURS, "fit", fit, "s", seed)
        layers = list(models[OUR_MODELS[3]].plan.values()).count("binary")
        yield Record(OUR_MODELS[3], OURS, "1-bit layers", float(layers), "", seed)
        predictors = {name: model.predictor() for name, model in models.items()}
        times = microseconds_per_row(predictors, self.ids, self.numbers, repeats=self.passes)
        found: dict[str, dict[str, float]] = {}
        for name in OUR_MODELS:
            measured = self._quality(models[name])
            measured |= {"size": models[name].nbytes, "saved size": _saved_bytes(models[name])}
            found[name] = measured | {"time per row": times[name]}
            yield from _records(name, OURS, found[name], seed)
        yield from _comparisons(found, seed)

    def _quality(self, model: Any) -> dict[str, float]:
        logit = vector_to_array(F.col(model.getRawPredictionCol()))[1].alias("logit")
        scored: DataFrame = model.transform(self.test).select(F.col(LABEL).alias("label"), logit)
        rows = scored.toPandas()
        return _figures(rows["label"], rows["logit"])


def _figures(label: Any, logit: Any) -> dict[str, float]:
    return {
        "auc": roc_auc(label, logit),
        "log_loss": log_loss_of_logits(label, logit),
        "calibration ratio": calibration_of_logits(label, logit),
    }


def _saved_bytes(model: Any) -> int:
    with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
        model.save(f"file://{folder}/model")
        return saved_bytes(f"file://{folder}/model")


def _records(case: str, system: str, values: dict[str, float], seed: int) -> Iterator[Record]:
    units = {"size": "bytes", "saved size": "bytes", "time per row": "µs"}
    for metric, value in values.items():
        yield Record(case, system, metric, float(value), units.get(metric, ""), seed)


def _comparisons(found: dict[str, dict[str, float]], seed: int) -> Iterator[Record]:
    whole, alone, distilled, quantised = OUR_MODELS
    for one, other in (
        (alone, whole),
        (distilled, whole),
        (distilled, alone),
        (quantised, distilled),
        (quantised, whole),
    ):
        for metric in ("auc", "log_loss"):
            difference = found[one][metric] - found[other][metric]
            yield Record(f"{one} minus {other}", OURS, metric, difference, "", seed)
        if distilled in (one, other) and alone in (one, other):
            continue  # the same network
        for metric in ("size", "saved size", "time per row"):
            ratio = found[one][metric] / found[other][metric]
            yield Record(f"{one} / {other}", OURS, metric, ratio, "ratio", seed)


class Peers:
    """scikit-learn on the raw columns of the official split.

    Parameters
    ----------
    train, test : DataFrame
        Of pandas; null strings are a category of their own.
    quick : bool
        One setting for each instead of a grid.
    passes : int
        Timed passes over the test rows.
    """

    def __init__(self, train: pd.DataFrame, test: pd.DataFrame, quick: bool, passes: int) -> None:
        self.quick, self.passes = quick, passes
        self.labels = train.pop(LABEL).to_numpy(), test.pop(LABEL).to_numpy()
        self.train, self.test = (part.fillna("missing") for part in (train, test))

    def records(self, seed: int) -> Iterator[Record]:
        """Choose settings, train and measure the peers; once for each of our models."""
        measured = {
            LINEAR: self._linear(StandardScaler(), seed),
            BUCKETED: self._linear(KBinsDiscretizer(64), seed),
            TREES: self._trees(seed),
        }
        for system, values in measured.items():
            for case in OUR_MODELS:
                yield from _records(case, system, values, seed)

    def _linear(self, numbers: Any, seed: int) -> dict[str, float]:
        features = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), CATEGORICAL), (numbers, NUMERIC)
        )
        pipeline = make_pipeline(features, LogisticRegression(max_iter=2000))
        grid = {"logisticregression__C": [0.1, 0.3, 1.0]}
        warnings.filterwarnings("ignore", "Bins whose width are too small")  # frequent values
        best = self._chosen(pipeline, grid, self.train, seed)
        # Ready-made features, as our models get theirs.
        test, model = best[:-1].transform(self.test), best[-1]
        size = model.coef_.astype(np.float32).nbytes + 4
        return self._values(model.decision_function, test, size)

    def _trees(self, seed: int) -> dict[str, float]:
        train, test = self.train.copy(), self.test.copy()
        for name in CATEGORICAL:
            values = pd.CategoricalDtype(sorted(train[name].unique()))
            for part in (train, test):
                part[name] = part[name].astype(values).cat.codes
        trees = HistGradientBoostingClassifier(
            categorical_features=[name in CATEGORICAL for name in train], random_state=seed
        )
        grid = {"learning_rate": [0.05, 0.1], "max_iter": [150, 300], "max_leaf_nodes": [15]}
        model = self._chosen(trees, grid, train.to_numpy(np.float64), seed)
        # Not public, but the nodes are all that prediction reads.
        size = sum(tree.nodes.nbytes for stage in model._predictors for tree in stage)
        return self._values(model.decision_function, test.to_numpy(np.float64), size)

    def _chosen(self, estimator: Any, grid: dict[str, list[Any]], features: Any, seed: int) -> Any:
        """Return the estimator fitted on all rows with the settings best on a tenth of them."""
        if self.quick:
            grid = {name: values[:1] for name, values in grid.items()}
        tenth = StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
        search = GridSearchCV(estimator, grid, scoring="neg_log_loss", cv=tenth)
        return search.fit(features, self.labels[0]).best_estimator_

    def _values(self, predict: Predictor, test: Any, size: int) -> dict[str, float]:
        logits = predict(test)
        # A sparse matrix has no len, so the timed rows are row numbers.
        rows = np.arange(test.shape[0])
        times = microseconds_per_row(
            {"peer": lambda batch, _: predict(test[batch[0] : batch[-1] + 1])},
            rows,
            rows,
            repeats=self.passes,
        )
        return {
            **_figures(self.labels[1], logits),
            "size": size,
            "time per row": times["peer"],
        }


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure ours, then the peers, seed by seed."""
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    epochs, passes = (2, 3) if arguments.quick else (20, 25)
    ours = OurModels(arguments.master, epochs, passes)
    spark = ours.train.sparkSession
    train, test = (adult(spark, split).toPandas() for split in ("train", "test"))
    peers = Peers(train, test, arguments.quick, passes)
    for seed in seeds:
        yield from ours.records(seed)
        yield from peers.records(seed)


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=TREES, seeds=range(5))

"""Click logs for `benchmarks.model_zoo` and others: Frappe, Adult, TalkingData, and a drawn one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pyspark.ml import Pipeline
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks import adult as adult_job
from benchmarks import selection_logs
from benchmarks.frame import spark_session
from spark_ctr.classification import CTRClassifier
from spark_ctr.datasets import ClickLogConfig, adult, click_log
from spark_ctr.datasets.click_log_config import CLICK, CLICK_PROBABILITY
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.jvm import session_settings
from spark_ctr.networks import Inputs, Table
from spark_ctr.rows.training_data import inputs_of

FRAPPE_DIM = 10  # as published


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows.

    Attributes
    ----------
    ids : int32 array [rows, ids a row]
    numeric : float32 array [rows, numeric columns]
    label : float32 array [rows]
        1 for a click, else 0; or its probability, where that is known and the rows are scored.
    """

    ids: np.ndarray
    numeric: np.ndarray
    label: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(self.ids[rows], self.numeric[rows], self.label[rows])


@dataclass(frozen=True, eq=False)
class Log:
    """A log in parts.

    Attributes
    ----------
    inputs : Inputs
        Of the networks.
    train, test : Rows
    valid : Rows or None
        They choose the best epoch, and may be `test`; None: a tenth of `train`, by the seed.
    raw_train, raw_test : DataFrame of pandas or None
        What the peers read: features, and the label in column "label".
    history : Rows or None
        Further rows, which only a better-informed teacher sees.
    """

    inputs: Inputs
    train: Rows
    test: Rows
    valid: Rows | None = None
    raw_train: pd.DataFrame | None = None
    raw_test: pd.DataFrame | None = None
    history: Rows | None = None

    def split(self, seed: int) -> tuple[Rows, Rows]:
        """Return the rows to train on and those that choose the epoch."""
        if self.valid is not None:
            return self.train, self.valid
        order = np.random.default_rng(seed).permutation(len(self.train.label))
        tenth = len(order) // 10
        return self.train.take(order[tenth:]), self.train.take(order[:tenth])

    def first(self, rows: int) -> Log:
        """Return the log with at most so many rows of each part, and none for the peers."""
        few = np.arange(rows)
        train, test = (part.take(few[: len(part.label)]) for part in (self.train, self.test))
        valid = self.valid
        if valid is not None:
            valid = test if self.valid is self.test else valid.take(few[: len(valid.label)])
        more = self.history
        more = None if more is None else more.take(few[: len(more.label)])
        return replace(
            self, train=train, test=test, valid=valid, raw_train=None, raw_test=None, history=more
        )


def frappe() -> Log | str:
    """Read Frappe's train and valid rows, or say why not.

    All official valid rows choose the epoch and are scored, as in published validation figures; the
    official test rows are not here. Every value has a row, as published (threshold 1).
    """
    found = selection_logs.frappe()
    if isinstance(found, str):
        return found
    rows = 1 + np.concatenate([found.train, found.test]).max(0)
    tables = [Table(name, int(n), FRAPPE_DIM) for name, n in zip(found.columns, rows, strict=True)]
    train, valid = (
        Rows(ids.astype(np.int32), np.zeros((len(ids), 0), np.float32), label.astype(np.float32))
        for ids, label in ((found.train, found.train_label), (found.test, found.test_label))
    )
    return Log(Inputs(tuple(tables), ()), train, valid, valid)


def adult_log(master: str) -> Log:
    """Encode the bundled Adult data (official split) by the default stages."""
    spark = spark_session(master, "spark_ctr teacher", session_settings())
    cleaner = ClickLogCleaner(categoricalCols=adult_job.CATEGORICAL, numericCols=adult_job.NUMERIC)
    parts = {name: adult(spark, name) for name in ("train", "test")}
    return encoded(cleaner, parts, adult_job.LABEL, adult_job.LABEL)


def talking_data(master: str) -> Log | str:
    """Encode TalkingData's first 80,000 clicks by the default stages, or say why not.

    The last fifth by time is scored; the hour is a column, and conversions are the label.
    """
    folder = selection_logs.shared("talkingdata")
    if folder is None:
        return "TalkingData may not be passed on and is not beside the repository"
    clicks = pd.read_parquet(folder / "clicks_first_80k.parquet")
    clicks = clicks.sort_values("click_time", kind="stable")
    clicks["hour"] = pd.to_datetime(clicks.pop("click_time")).dt.hour
    spark = spark_session(master, "spark_ctr teacher", session_settings())
    names = [name for name in clicks if name != "is_attributed"]
    split = len(clicks) * 4 // 5
    parts = {
        name: spark.createDataFrame(part)
        for name, part in (("train", clicks[:split]), ("test", clicks[split:]))
    }
    cleaner = ClickLogCleaner(categoricalCols=names)
    return encoded(cleaner, parts, "is_attributed", "is_attributed")


def drawn(
    master: str,
    rows: int,
    click_rate: float | None = None,
    history: int = 0,
    config: ClickLogConfig | None = None,
    first_seed: int = 0,
) -> Log:
    """Draw a click log, and half as many rows of another seed to score, and encode both.

    The scored rows have their true probabilities as labels. `history` is how many further rows to
    draw; the stages that encode are fitted to the log's own rows.
    """
    spark = spark_session(master, "spark_ctr teacher", session_settings())
    config = config or ClickLogConfig()
    if click_rate is not None:
        config = replace(config, click_rate=click_rate)
    cleaner = ClickLogCleaner(
        categoricalCols=[
            *(column.name for column in config.identifiers),
            *(name for name, _ in config.constants),
            "slot",
        ],
        numericCols=[column.name for column in config.numerics],
        timestampCol="timestamp",
    )
    parts = {
        name: click_log(spark, n, seed=first_seed + seed, partitions=4, config=config).persist()
        for name, n, seed in (("train", rows, 0), ("test", rows // 2, 1), ("history", history, 2))
        if n
    }
    return encoded(cleaner, parts, CLICK, CLICK_PROBABILITY)


def encoded(
    cleaner: ClickLogCleaner, parts: dict[str, DataFrame], label: str, scored_label: str
) -> Log:
    """Encode the parts of a log by the default stages, fitted to its part "train".

    The others are "test", and perhaps "valid" and "history", see `Log`.
    """
    stages = [cleaner, PowerLawFeatureSelector(labelCol=label), HashedEmbeddingEncoder()]
    features = Pipeline(stages=stages).fit(parts["train"])
    found = {name: features.transform(part) for name, part in parts.items()}
    inputs = inputs_of(found["train"], CTRClassifier(labelCol=label).training_columns())
    train, test, valid, more = (
        _rows(found[name], features.stages[-1], column) if name in found else None
        for name, column in (
            ("train", label),
            ("test", scored_label),
            ("valid", label),
            ("history", label),
        )
    )
    assert train is not None and test is not None
    clean = features.stages[0].transform
    raw = (
        _raw(clean(parts[name]), column)
        for name, column in (("train", label), ("test", scored_label))
    )
    return Log(inputs, train, test, valid, *raw, history=more)


def _raw(cleaned: DataFrame, label: str) -> pd.DataFrame:
    names = [name for name in cleaned.columns if name.endswith("_clean")]
    return cleaned.select(*names, F.col(label).cast("float").alias("label")).toPandas()


def _rows(encoded: DataFrame, encoder: HashedEmbeddingEncoder, label: str) -> Rows:
    columns = encoder.getCategoricalFeaturesCol(), encoder.getNumericFeaturesCol()
    found = encoded.select(*columns, F.col(label).cast("float").alias("label")).toPandas()
    ids, numeric = (np.array(found[name].tolist()) for name in columns)
    return Rows(ids.astype(np.int32), numeric.astype(np.float32), found["label"].to_numpy())


def logs(
    arguments: argparse.Namespace,
    opened: Callable[[str, argparse.Namespace], Log | str],
    quick_rows: int,
) -> Iterator[tuple[str, Log]]:
    """Yield the logs that are asked for, with their names; say of one why it is missing."""
    for name in arguments.data:
        log = opened(name, arguments)
        if isinstance(log, str):
            print(f"without {name}: {log}")
        else:
            yield name, log.first(quick_rows) if arguments.quick else log

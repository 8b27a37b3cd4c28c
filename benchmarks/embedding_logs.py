"""Two click logs as ids in memory, for `embedding_step` and `training_precision`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pyspark.sql import SparkSession
from torch import Tensor

from benchmarks.frame import spark_session
from spark_ctr.datasets import bundled_path, click_log
from spark_ctr.networks import Inputs, Table


@dataclass(frozen=True, eq=False)
class SampleLog:
    """Rows of a log, the training part first.

    Attributes
    ----------
    inputs : Inputs
        The categorical columns and the numeric ones.
    ids : Tensor, int32 [rows, categorical columns]
        Row 0 stands for values that the training part holds less than twice.
    numeric : Tensor, float32 [rows, numeric columns]
        Standardised, clipped to 4, missing values at the mean.
    label : Tensor, float32 [rows]
    train_rows : int
    """

    inputs: Inputs
    ids: Tensor
    numeric: Tensor
    label: Tensor
    train_rows: int


def logs_of(cases: Sequence[str], master: str, quick: bool, dim: int) -> dict[str, SampleLog]:
    """Return the logs of the cases "click_log" and "adult", by the names that tables give them."""
    logs = {}
    if "click_log" in cases:
        spark = spark_session(master, "embedding_logs")
        logs["click log"] = synthetic_log(spark, 25_000 if quick else 250_000, dim)
        spark.stop()
    if "adult" in cases:
        logs["Adult"] = adult_log(dim)
    return logs


def synthetic_log(spark: SparkSession, rows: int, dim: int) -> SampleLog:
    """Draw the synthetic click log; the last fifth of its rows, in no order, is for tests."""
    categorical = ["user_id", "ad_id", "advertiser_id", "site_id", "category", "device", "region"]
    categorical += ["browser", "ab_bucket", "slot"]
    numeric = ["price", "age", "page_load_seconds"]
    log = click_log(spark, rows).select(*categorical, *numeric, "click").toPandas()
    return _encoded(log, categorical, numeric, "click", rows * 4 // 5, dim)


def adult_log(dim: int) -> SampleLog:
    """Read Adult's official split; the values of its numeric columns are categories too."""
    parts = [pd.read_parquet(bundled_path("adult", split)) for split in ("train", "test")]
    log = pd.concat(parts, ignore_index=True)
    numeric = ["age", "hours_per_week", "capital_gain", "capital_loss"]
    other = ("education_num", "fnlwgt", "income")  # a repeat, a sampling weight, the label
    categorical = [name for name in log.columns if name not in other]
    return _encoded(log, categorical, numeric, "income", len(parts[0]), dim)


def _encoded(
    log: pd.DataFrame,
    categorical: list[str],
    numeric: list[str],
    label: str,
    train_rows: int,
    dim: int,
) -> SampleLog:
    train = log[:train_rows]
    tables, ids = [], np.empty((len(log), len(categorical)), np.int32)
    for column, name in enumerate(categorical):
        counts = train[name].value_counts()
        frequent = counts.index[counts >= 2]
        rows = pd.Series(np.arange(1, len(frequent) + 1), frequent)
        ids[:, column] = log[name].map(rows).fillna(0)
        tables.append(Table(name, len(frequent) + 1, dim))
    values = (log[numeric] - train[numeric].mean()) / train[numeric].std()
    return SampleLog(
        Inputs(tuple(tables), tuple(numeric)),
        torch.from_numpy(ids),
        torch.from_numpy(values.fillna(0).clip(-4, 4).to_numpy(np.float32)),
        torch.from_numpy(log[label].to_numpy(np.float32)),
        train_rows,
    )

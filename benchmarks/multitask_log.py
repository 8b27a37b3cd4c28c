"""A drawn log of clicks and conversions, whose probabilities are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.frame import spark_session
from spark_ctr.datasets import ClickLogConfig, Identifier, Interaction, Numeric, click_log
from spark_ctr.datasets.click_log_config import (
    CLICK,
    CLICK_PROBABILITY,
    CONVERSION,
    CONVERSION_PROBABILITY,
)
from spark_ctr.networks import Inputs, Table
from spark_ctr.training.feeds import Batch

DIM = 8
# Values with fewer rows than this share row 0.
_LEAST_ROWS = 3


def world(conversion_rate: float, correlation: float) -> ClickLogConfig:
    """Return a world with so many conversions of a click, and effects so much alike."""

    def column(
        name: str, vocabulary: int, exponent: float, click: float, conversion: float
    ) -> Identifier:
        return Identifier(
            name,
            vocabulary,
            exponent,
            effect=click,
            conversion_effect=conversion,
            conversion_correlation=correlation,
        )

    return ClickLogConfig(
        identifiers=(
            column("user_id", 20_000, 0.9, 0.5, 0.5),
            column("ad_id", 2_000, 1.1, 0.6, 0.6),
            column("site_id", 1_000, 1.2, 0.5, 0.4),
            column("category", 30, 0.7, 0.3, 0.3),
            column("device", 6, 0.8, 0.3, 0.3),
        ),
        numerics=(Numeric("price", 20.0, 0.8, -0.2, -0.4, log_normal=True, minimum=0.01),),
        interactions=(
            Interaction("category", "device", 0.4),
            Interaction("site_id", "category", 0.3),
        ),
        constants=(),
        click_rate=0.08,
        conversion_rate=conversion_rate,
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows.

    Attributes
    ----------
    ids : int32 array [rows, columns]
    numeric : float32 array [rows, 1]
    click, conversion : float32 array [rows]
    p_click, p_conversion : float64 array [rows]
        True probabilities, the latter given a click.
    """

    ids: np.ndarray
    numeric: np.ndarray
    click: np.ndarray
    conversion: np.ndarray
    p_click: np.ndarray
    p_conversion: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Log:
    """Rows to train on, rows that choose settings and epochs, and rows that are reported."""

    inputs: Inputs
    train: Rows
    valid: Rows
    test: Rows


def drawn(master: str, rows: int, seed: int, conversion_rate: float, correlation: float) -> Log:
    """Draw as many rows to train on, half as many to choose by, and as many to report.

    Parameters
    ----------
    master : str
        Of Spark.
    rows, seed : int
    conversion_rate, correlation : float
        See `world`.
    """
    spark = spark_session(master, "spark_ctr multitask")
    config = world(conversion_rate, correlation)
    names = [column.name for column in config.identifiers]
    log = click_log(spark, rows * 5 // 2, seed=seed, partitions=4, config=config)
    truth = (CLICK, CONVERSION, CLICK_PROBABILITY, CONVERSION_PROBABILITY)
    frame = log.select(*names, "price", *truth).toPandas()
    ids = np.zeros((len(frame), len(names)), np.int32)
    tables = []
    for c, name in enumerate(names):
        values, counts = np.unique(frame[name].to_numpy(str)[:rows], return_counts=True)
        known = {v: i + 1 for i, v in enumerate(values[counts >= _LEAST_ROWS])}
        ids[:, c] = frame[name].map(known).fillna(0).to_numpy(np.int32)
        tables.append(Table(name, len(known) + 1, DIM))
    price = np.log(frame["price"].to_numpy(np.float64))
    price = ((price - price[:rows].mean()) / price[:rows].std()).astype(np.float32)
    every = Rows(
        ids,
        price[:, None],
        frame[CLICK].to_numpy(np.float32),
        frame[CONVERSION].to_numpy(np.float32),
        frame[CLICK_PROBABILITY].to_numpy(np.float64),
        frame[CONVERSION_PROBABILITY].to_numpy(np.float64),
    )
    ends = np.split(np.arange(len(frame)), [rows, rows * 3 // 2])
    return Log(Inputs(tuple(tables), ("price",)), *(every.take(part) for part in ends))


class TaskFeed:
    """Rows as batches, a label a task, in another order each epoch.

    Parameters
    ----------
    rows : Rows
    label : float32 array [rows, tasks]
        nan where it is not known.
    batch_size, seed : int
    """

    def __init__(self, rows: Rows, label: np.ndarray, batch_size: int, seed: int) -> None:
        self.rows = len(label)
        self._ids, self._numeric = torch.from_numpy(rows.ids), torch.from_numpy(rows.numeric)
        found = torch.from_numpy(label)
        self._label, self._known = found.nan_to_num(), ~found.isnan()
        self._batch_size, self._seed = batch_size, seed

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""
        draw = torch.Generator().manual_seed(1000 * self._seed + epoch)
        for at in torch.randperm(self.rows, generator=draw).split(self._batch_size)[start:]:
            yield self.batch(at)

    def in_order(self) -> Iterator[Batch]:
        """Yield the rows in their order."""
        for at in torch.arange(self.rows).split(self._batch_size):
            yield self.batch(at)

    def batch(self, at: torch.Tensor) -> Batch:
        """Return some rows as a batch."""
        label = self._label[at]
        known = self._known[at] if label.shape[1] > 1 else None
        return Batch(self._ids[at], self._numeric[at], label, torch.ones(len(at)), known)

"""Logs of clicks and conversions: a drawn one, whose probabilities are known, and Hillstrom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from benchmarks.frame import spark_session
from benchmarks.selection_logs import shared
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
    numeric : float32 array [rows, numeric columns]
    click, conversion : float32 array [rows]
    p_click, p_conversion : float64 array [rows]
        True probabilities, the latter given a click; where they are not known the labels, the
        latter nan without a click.
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
    known = np.arange(len(frame)) < rows
    ids, tables = _ids(frame, names, known)
    every = Rows(
        ids,
        _standard(np.log(frame[["price"]].to_numpy(np.float64)), known),
        frame[CLICK].to_numpy(np.float32),
        frame[CONVERSION].to_numpy(np.float32),
        frame[CLICK_PROBABILITY].to_numpy(np.float64),
        frame[CONVERSION_PROBABILITY].to_numpy(np.float64),
    )
    ends = np.split(np.arange(len(frame)), [rows, rows * 3 // 2])
    return Log(Inputs(tables, ("price",)), *(every.take(part) for part in ends))


def hillstrom(seed: int) -> Log | str:
    """Read the customers of Hillstrom's e-mail campaign, or say why not.

    A visit is the click, and every buyer visited. A fifth of the customers, whatever the seed,
    chooses settings and epochs; of the others the seed draws five eighths to train on and three
    to report.
    """
    folder = shared("hillstrom")
    if folder is None:
        return "Hillstrom may not be passed on and is not beside the repository"
    frame = pd.read_parquet(folder / "train.parquet")
    order = np.random.default_rng(2026).permutation(len(frame))
    valid, others = np.split(order, [len(order) // 5])
    np.random.default_rng(seed).shuffle(others)
    train, test = np.split(others, [len(others) * 5 // 8])
    known = np.isin(np.arange(len(frame)), train)
    names = ["history_segment", "mens", "womens", "zip_code", "newbie", "channel", "segment"]
    ids, tables = _ids(frame, [*names, "recency"], known)
    numbers = np.column_stack([frame["recency"], np.log(frame["history"])])
    visit = frame["visit"].to_numpy(np.float32)
    bought = frame["conversion"].to_numpy(np.float32)
    given = np.where(visit > 0, bought, np.nan).astype(np.float64)
    every = Rows(ids, _standard(numbers, known), visit, bought, visit.astype(np.float64), given)
    parts = (every.take(part) for part in (train, valid, test))
    return Log(Inputs(tables, ("months", "spent")), *parts)


def _ids(
    frame: pd.DataFrame, names: Sequence[str], known: np.ndarray
) -> tuple[np.ndarray, tuple[Table, ...]]:
    """Give values that are frequent enough in the known rows a number."""
    ids = np.zeros((len(frame), len(names)), np.int32)
    tables = []
    for c, name in enumerate(names):
        text = frame[name].astype(str)
        values, counts = np.unique(text.to_numpy(str)[known], return_counts=True)
        number = {v: i + 1 for i, v in enumerate(values[counts >= _LEAST_ROWS])}
        ids[:, c] = text.map(number).fillna(0).to_numpy(np.int32)
        tables.append(Table(name, len(number) + 1, DIM))
    return ids, tuple(tables)


def _standard(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Standardise columns by the rows that are known, as float32."""
    of = values[known]
    return ((values - of.mean(0)) / of.std(0)).astype(np.float32)


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

"""Sums of scored rows by slot and score, from which all numbers of calibration follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_ctr.calibration_curves import (
    cox,
    log_odds,
    mean_error,
    mean_relative_error,
    normalized_entropy,
)
from spark_ctr.calibration_curves.bins import CLIP, HIGH, LOW
from spark_ctr.stage.columns import column

# Bins of log-odds for Cox's regression: scores of a bin differ by 6 % at most.
_COX_BINS = 512
SUMS = ("rows", "predicted", "clicks", "loss")


def cell_columns(bins: int) -> list[Column]:
    """Return the bin of equal width over [0, 1], and that of log-odds, of a valid score ``p``."""
    p = F.col("p")
    clipped = F.greatest(F.least(p, F.lit(1.0 - CLIP)), F.lit(CLIP))
    place = (F.log(clipped / (1.0 - clipped)) - LOW) * (_COX_BINS / (HIGH - LOW))
    equal = F.least(F.floor(p * bins), F.lit(bins - 1))
    inner = F.greatest(F.least(F.floor(place), F.lit(_COX_BINS - 1)), F.lit(0))
    return [equal.cast("int").alias("bin"), inner.cast("int").alias("logit_bin")]


def log_loss() -> Column:
    """Return the log loss of a label ``y`` and a score ``p``, clipped to [1e-15, 1 - 1e-15]."""
    p = F.greatest(F.least(F.col("p"), F.lit(1.0 - CLIP)), F.lit(CLIP))
    return -F.when(F.col("y") == 1.0, F.log(p)).otherwise(F.log1p(-p))


def sums() -> list[Column]:
    """Return the aggregates of `SUMS`."""
    return [F.count(F.lit(1)).alias("rows")] + [
        F.sum(source).alias(name)
        for name, source in (("predicted", "p"), ("clicks", "y"), ("loss", "loss"))
    ]


@dataclass(frozen=True, eq=False)
class ScoreCells:
    """Cells of (slot, bin, bin of log-odds) that have rows.

    Attributes
    ----------
    names : list of tuple
        Values of each slot's columns, as texts.
    slot, bin : int64 array [C]
    rows, predicted, clicks, loss : float64 array [C]
    """

    names: list[tuple[Any, ...]]
    slot: np.ndarray
    bin: np.ndarray
    rows: np.ndarray
    predicted: np.ndarray
    clicks: np.ndarray
    loss: np.ndarray

    @classmethod
    def of(cls, found: Sequence[Any], slots: Sequence[str]) -> ScoreCells:
        """Take collected rows of the sums."""
        found = sorted(found, key=lambda row: (row["bin"], row["logit_bin"]))  # sums alike
        of_row = [tuple(row[name] for name in slots) for row in found]
        names = sorted({*of_row}, key=lambda name: [(text is None, text or "") for text in name])
        place = {name: index for index, name in enumerate(names)}
        return cls(
            names,
            np.array([place[name] for name in of_row], np.int64),
            np.array([row["bin"] for row in found], np.int64),
            *(np.array([row[name] for row in found], np.float64) for name in SUMS),
        )

    def measured(self, slot: np.ndarray, slots: int) -> list[dict[str, Any]]:
        """Return all numbers of each of ``slots`` groups, of which ``slot`` is a cell's."""
        total = {name: np.bincount(slot, getattr(self, name), slots) for name in SUMS}
        bins = int(self.bin.max()) + 1
        groups, group = np.unique(slot * bins + self.bin, return_inverse=True)
        off = np.abs(np.bincount(group, self.predicted - self.clicks))
        error = np.bincount(groups // bins, off, slots)
        logit = log_odds(self.predicted / self.rows)
        intercept, slope = cox(slot, logit, self.rows, self.clicks, slots)
        return [
            {
                "rows": int(rows),
                "clicks": int(clicks),
                "expectedCalibrationError": float(error[i] / rows),
                "calibrationRatio": float(predicted / clicks) if clicks else math.nan,
                "logLoss": float(loss / rows),
                "normalizedEntropy": normalized_entropy(loss / rows, clicks / rows),
                "coxIntercept": float(intercept[i]),
                "coxSlope": float(slope[i]),
            }
            for i, (rows, predicted, clicks, loss) in enumerate(
                zip(*(total[name] for name in SUMS), strict=True)
            )
        ]

    def overall(self) -> dict[str, Any]:
        """Return all numbers of all rows."""
        return self.measured(np.zeros_like(self.slot), 1)[0]

    def by_slot(self) -> list[dict[str, Any]]:
        """Return all numbers of each slot."""
        return self.measured(self.slot, len(self.names))

    def field_errors(self) -> dict[str, float]:
        """Return Field-ECE and Field-RCE."""
        rows, predicted, clicks = (
            np.bincount(self.slot, values).astype(np.float64)
            for values in (self.rows, self.predicted, self.clicks)
        )
        return {
            "fieldECE": mean_error(predicted, clicks, float(rows.sum())),
            "fieldRCE": mean_relative_error(predicted, clicks, rows),
        }

    def curve(self, slot: int | None = None) -> list[dict[str, Any]]:
        """Return the reliability curve of a slot or all rows, a point each bin that has rows."""
        own = slice(None) if slot is None else self.slot == slot
        rows, predicted, clicks = (
            np.bincount(self.bin[own], values[own])
            for values in (self.rows, self.predicted, self.clicks)
        )
        return [
            {
                "mean_probability": float(predicted[i] / rows[i]),
                "rate": float(clicks[i] / rows[i]),
                "rows": int(rows[i]),
            }
            for i in np.flatnonzero(rows)
        ]


def binned_field_error(scored: DataFrame, slots: Sequence[str], bins: int) -> float:
    """Return F-ECE@bins: Field-ECE with so many equally frequent bins of scores in each slot."""
    # Rows of equal score and label are alike, so their order does not matter.
    window = Window.partitionBy(*map(column, slots)).orderBy("p", "y")
    parts = scored.withColumn("part", F.ntile(bins).over(window))
    off = parts.groupBy(*map(column, slots), "part").agg(
        F.abs(F.sum("p") - F.sum("y")).alias("off"), F.count(F.lit(1)).alias("rows")
    )
    found = off.agg(F.sum("off").alias("off"), F.sum("rows").alias("rows")).collect()[0]
    return found["off"] / found["rows"]


def mean_variance_error(scored: DataFrame, parts: int, shuffles: int, seed: int) -> float:
    """Return MVCE: root of the mean squared distance of means, over random parts of the rows.

    Each shuffle deals the rows into so many parts at random; its number is the mean over the parts
    of abs(mean label - mean score), and MVCE the root of the mean of their squares. It falls with
    the rows of a part however good the scores are: compare it at equal numbers only.
    """
    # Rows of equal score and label are alike: numbered, whichever comes first, they are the same
    # rows however the dataset is partitioned.
    alike = Window.partitionBy("p", "y").orderBy(F.lit(0))
    numbered = scored.select("p", "y", F.row_number().over(alike).alias("number"))
    hashed = [F.xxhash64(F.lit(seed + i), "p", "y", "number") for i in range(shuffles)]
    dealt = [
        F.struct(F.lit(i).alias("shuffle"), F.pmod(hashed[i], F.lit(parts)).alias("part"))
        for i in range(shuffles)
    ]
    found = (
        numbered.select("p", "y", F.explode(F.array(*dealt)).alias("place"))
        .groupBy("place.shuffle", "place.part")
        .agg(F.abs(F.avg("y") - F.avg("p")).alias("off"))
        .groupBy("shuffle")
        .agg(F.avg("off").alias("off"))
        .collect()
    )
    return math.sqrt(sum(row["off"] ** 2 for row in found) / shuffles)

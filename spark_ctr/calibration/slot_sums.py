"""Sums of rows by slot and score bin: the one pass over the data of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.calibration.score_columns import log_odds, slot_key, slot_texts
from spark_ctr.calibration_curves import ScoreBins, SlotStatistics
from spark_ctr.calibration_curves.bins import LOW
from spark_ctr.calibration_curves.statistics import SUMS

# Sums of whole numbers are the same whatever the partitions.
_UNIT = 2.0**32
_DECIMAL = "decimal(28,12)"
VALID, BAD_LABEL, BAD_WEIGHT, BAD_SCORE = range(4)


@dataclass(frozen=True)
class SlotSums:
    """What the pass found.

    Attributes
    ----------
    statistics : SlotStatistics
        Of the valid rows.
    names : dict of int to list of str
        Texts of each slot's values, by key.
    rows, ones : int
        Valid rows, and those of them with label 1.
    invalid : dict of str to int
        Rows with a bad "label", a bad "weight", or else a bad "score".
    """

    statistics: SlotStatistics
    names: dict[int, list[str]]
    rows: int
    ones: int
    invalid: dict[str, int]


def sum_slots(
    dataset: DataFrame,
    score: Column,
    label: Column,
    weight: Column | None,
    slots: list[str],
    bins: ScoreBins,
) -> SlotSums:
    """Sum rows up in one job; the driver gets a row for each slot and bin that has rows.

    Parameters
    ----------
    dataset : DataFrame
    score : Column
        Null where it is not valid.
    label, weight : Column
        As they came, doubles.
    slots : list of str
    bins : ScoreBins
    """
    texts = slot_texts(slots) if slots else []
    w = F.lit(1.0) if weight is None else weight
    rows = dataset.select(
        *[text.alias(f"s{i}") for i, text in enumerate(texts)],
        score.alias("p"),
        label.alias("y"),
        w.alias("w"),
    )
    state = (
        F.when(~F.coalesce(F.col("y").isin(0.0, 1.0), F.lit(False)), BAD_LABEL)
        .when(
            ~F.coalesce((F.col("w") >= 0) & (F.col("w") < float("inf")), F.lit(False)), BAD_WEIGHT
        )
        .when(F.col("p").isNull(), BAD_SCORE)
        .otherwise(VALID)
    )
    place = F.floor((log_odds(F.col("p")) - F.lit(LOW)) / F.lit(bins.width)).cast("int")
    inside = F.greatest(F.lit(0), F.least(place, F.lit(bins.count - 1)))
    names = [f"s{i}" for i in range(len(texts))]
    binned = rows.select(
        *names, "p", "y", "w", state.alias("state"), F.when(state == VALID, inside).alias("bin")
    )
    if weight is None:
        click, predicted = (
            F.sum(F.col("y").cast("long")),
            F.sum(F.round(F.col("p") * _UNIT).cast("long")),
        )
        sums = [
            F.count(F.lit(1)).alias("weight"),
            click.alias("clicks"),
            predicted.alias("predicted"),
        ]
        squares = F.count(F.lit(1))
    else:
        valid = F.col("state") == VALID
        sums = [
            F.sum(F.when(valid, value).cast(_DECIMAL)).alias(name)
            for name, value in (
                ("weight", F.col("w")),
                ("clicks", F.col("w") * F.col("y")),
                ("predicted", F.col("w") * F.col("p")),
            )
        ]
        squares = F.sum(F.when(valid, F.col("w") * F.col("w")).cast(_DECIMAL))
    key = F.when(F.col("s0").isNotNull(), slot_key(names)) if names else F.lit(None)
    found = (
        binned.groupBy(*names, "state", "bin")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.sum(F.col("y").cast("long")).alias("ones"),
            *sums,
            squares.alias("squares"),
        )
        .select("*", key.alias("key"))
        .collect()
    )
    good = [row for row in found if row["state"] == VALID]
    counts = {state: sum(r["rows"] for r in found if r["state"] == state) for state in range(1, 4)}
    named = {row["key"]: [row[n] for n in names] for row in good if row["key"] is not None}
    keys = np.array(sorted(named), np.int64)
    slot = np.array([-1 if row["key"] is None else row["key"] for row in good], np.int64)
    without = np.array([row["key"] is None for row in good], bool)
    columns = {name: np.array([float(row[name]) for row in good]) for name in SUMS}
    if weight is None:
        columns["predicted"] = columns["predicted"] / _UNIT
    statistics = SlotStatistics.of_cells(
        bins,
        keys,
        np.where(without, -1, np.searchsorted(keys, slot)),
        np.array([row["bin"] for row in good], np.int64),
        columns,
        float(sum(row["squares"] for row in good)),
    )
    return SlotSums(
        statistics,
        named,
        sum(row["rows"] for row in good),
        sum(row["ones"] for row in good),
        {"label": counts[BAD_LABEL], "weight": counts[BAD_WEIGHT], "score": counts[BAD_SCORE]},
    )

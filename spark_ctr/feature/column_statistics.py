"""What PowerLawFeatureSelector measures on a dataset, for the pure rule to decide on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import is_array, texts_of
from spark_ctr.feature.value_counts import count_kinds
from spark_ctr.power_law import Counted, JointRelevance, joint_relevance
from spark_ctr.power_law.counted import SLICES
from spark_ctr.stage.columns import column
from spark_ctr.stage.validation_time import time_of

_ROWS = "spark_ctr rows"  # a constant column, which counts rows and labels in the same pass


@dataclass(frozen=True)
class LabelTotals:
    """Rows of a dataset, those whose label is invalid, and those with label 1."""

    rows: int
    invalid: int
    positives: int


def valid_label(name: str) -> Column:
    """Return the label as a double, null where it is neither 0 nor 1."""
    label = column(name).cast("double")
    return F.when(label.isin(0.0, 1.0), label)


def count_columns(
    dataset: DataFrame, names: Sequence[str], label: str, order: str | None
) -> tuple[list[Counted], LabelTotals]:
    """Count the values of all columns in one pass; only their joint histograms are collected.

    Parameters
    ----------
    dataset : DataFrame
    names : sequence of str
    label : str
        Numeric or boolean; other values than 0 and 1 count as unlabelled.
    order : str, optional
        Column that gives the log's order; costs a second, short pass for its quantiles.
    """
    part = None if order is None else _part_of_log(dataset, order)
    counted = dataset.withColumn(_ROWS, F.lit(""))
    rows = count_kinds(counted, [*names, _ROWS], valid_label(label), part).collect()
    table: dict[int, list[Any]] = {}
    for row in rows:
        table.setdefault(row["column"], []).append(row)
    total = table.pop(len(names), [])
    n, labelled, positives = (
        sum(row[key] for row in total) for key in ("rows", "labelled", "positives")
    )
    return [
        _counted(table.get(index, []), part is not None) for index in range(len(names))
    ], LabelTotals(n, n - labelled, positives)


def _counted(rows: list[Any], ordered: bool) -> Counted:
    # in one order, so that sums round alike however the dataset is partitioned
    rows = sorted(rows, key=tuple)

    def values(key: str, kind: type = np.int64) -> np.ndarray:
        return np.array([row[key] for row in rows], dtype=kind)

    first = values("slice") if ordered else np.zeros(len(rows), dtype=np.int64)
    return Counted(
        values("missing", bool),
        values("rows"),
        values("labelled"),
        values("positives"),
        first,
        values("values"),
    )


def _part_of_log(dataset: DataFrame, order: str) -> Column | None:
    """Return which twentieth of the log a row belongs to; None where all rows are alike."""
    value = time_of(dataset, order).cast(T.DoubleType())
    shares = [i / SLICES for i in range(1, SLICES)]
    ends = dataset.agg(F.percentile_approx(value, shares, 10_000).alias("ends")).collect()[0][0]
    if ends is None or ends[0] == ends[-1]:
        return None
    # a row at the very end of a part belongs to it
    later = [F.when(value > F.lit(end), 1).otherwise(0) for end in ends]
    total = later[0]
    for one in later[1:]:
        total = total + one
    return F.when(value.isNotNull(), total)


def sample_relevance(
    dataset: DataFrame, names: Sequence[str], label: str, rows: int, limit: int, seed: int
) -> dict[str, JointRelevance]:
    """Measure what columns say about the label together, on a random sample of the rows.

    Parameters
    ----------
    dataset : DataFrame
        Of `rows` rows.
    names : sequence of str
        Columns of single values; arrays have no one value to pair.
    label : str
    limit, seed : int
        About so many rows are collected, as hashes; all where there are no more.
    """
    scalar = [name for name in names if not is_array(dataset, name)]
    if not scalar or limit == 0:
        return {}
    texts = [texts_of(dataset, name) for name in scalar]
    # missing is one more value, which clashes with another one in 2**64
    codes = [F.when(text.isNull(), F.lit(0)).otherwise(F.xxhash64(text)) for text in texts]
    if rows > limit:
        dataset = dataset.sample(limit / rows, seed=seed)
    kept = dataset.select(
        valid_label(label).alias("label"), *[code.alias(f"h{i}") for i, code in enumerate(codes)]
    ).where(F.col("label").isNotNull())
    lists = kept.agg(*[F.collect_list(name) for name in kept.columns]).collect()[0]
    y, *columns = (np.array(values) for values in lists)
    # in one order, as above
    order = np.lexsort([y, *columns])
    codes_of = {n: c[order].astype(np.int64) for n, c in zip(scalar, columns, strict=True)}
    return joint_relevance(codes_of, y[order])

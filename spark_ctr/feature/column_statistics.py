"""What PowerLawFeatureSelector measures on a dataset, for the pure rule to decide on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.value_counts import count_kinds, is_array, texts_of
from spark_ctr.power_law import (
    ColumnStats,
    CountHistogram,
    JointRelevance,
    VocabularyGrowth,
    fit_discrete,
    joint_relevance,
    label_relevance,
    vocabulary_growth,
)
from spark_ctr.stage.columns import column

SLICES = 20  # parts of the log, in its order, at whose ends the vocabulary is measured
_LAST = SLICES // 5  # of them, whose unseen values are counted
_ROWS = "spark_ctr rows"  # a constant column, which counts rows and labels in the same pass


@dataclass(frozen=True)
class LabelTotals:
    """Rows of a dataset, those whose label is invalid, and those with label 1."""

    rows: int
    invalid: int
    positives: int


@dataclass(frozen=True)
class Counted:
    """Joint histogram of one column's counted values, a row of each array a kind of value.

    Attributes
    ----------
    missing : bool array
        Whether the row stands for missing values.
    rows, labelled, positives : int64 array
        Of each value of the kind.
    first : int64 array
        The part of the log in which the values occur first.
    values : int64 array
        How many values are of the kind.
    """

    missing: np.ndarray
    rows: np.ndarray
    labelled: np.ndarray
    positives: np.ndarray
    first: np.ndarray
    values: np.ndarray


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
    value = column(order)
    kind = dataset.schema[order].dataType
    if isinstance(kind, T.DateType):
        value = F.unix_date(value)
    elif not isinstance(kind, T.NumericType):
        value = F.unix_micros(value.cast("timestamp"))
    value = value.cast("double")
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


def column_stats(
    name: str,
    counted: Counted,
    min_count: int,
    labelled_only: bool,
    joint: JointRelevance | None,
) -> ColumnStats:
    """Histogram, fit and relevance of a column from its counted values."""
    size = counted.labelled if labelled_only else counted.rows
    present = ~counted.missing & (size > 0)
    counts, kind = np.unique(size[present], return_inverse=True)
    multiplicities = np.bincount(kind, counted.values[present], minlength=len(counts))
    histogram = CountHistogram(counts, multiplicities.astype(np.int64))
    head = counted.labelled >= min_count
    beyond = counted.values * ~head
    measured: dict[str, Any] = {
        "counts": counted.labelled[head],
        "positives": counted.positives[head],
        "values": counted.values[head],
        "tail_count": int((counted.labelled * beyond).sum()),
        "tail_positives": int((counted.positives * beyond).sum()),
    }
    missing = int((size * counted.values)[counted.missing].sum())
    return ColumnStats(
        name,
        histogram,
        missing,
        fit_discrete(histogram),
        label_relevance(**measured),
        joint,
        label_relevance(**measured, z=3.0),
    )


def column_growth(
    histogram: CountHistogram, counted: Counted, labelled_only: bool, ordered: bool
) -> VocabularyGrowth | None:
    """Growth of a column's vocabulary, in the log's order where it has one."""
    if not len(histogram.values):
        return None
    size = counted.labelled if labelled_only else counted.rows
    present = ~counted.missing & (size > 0)
    if not ordered or histogram.total < SLICES:
        return vocabulary_growth(histogram)
    # values without an order count from the start
    first = np.where(counted.first[present] < SLICES, counted.first[present], 0)
    values = counted.values[present]
    new = np.bincount(first, values, minlength=SLICES)
    # the parts are of equal size but for ties, so their rows need no count of their own
    rows = histogram.total * np.arange(1, SLICES + 1) / SLICES
    late = first >= SLICES - _LAST
    unseen = float((size[present] * values)[late].sum()) / (histogram.total * _LAST / SLICES)
    distinct = np.minimum(np.cumsum(new), rows)
    seen = distinct > 0
    if not math.isfinite(unseen) or seen.sum() < 2:
        return vocabulary_growth(histogram)
    return vocabulary_growth(histogram, rows[seen], distinct[seen], min(unseen, 1.0))

"""What PowerLawFeatureSelector measures on a dataset, for the pure rule to decide on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import is_array, texts_of
from spark_ctr.feature.value_counts import count_kinds
from spark_ctr.power_law import ColumnStats, Counted, JointRelevance, joint_relevance
from spark_ctr.power_law.budget import alike
from spark_ctr.power_law.counted import SLICES
from spark_ctr.stage.columns import column
from spark_ctr.stage.raw_rows import raw_columns, raw_hash
from spark_ctr.stage.times import time_of

_GROUPED = 100  # of more rows than so many times the sample, a share is left before grouping
_PART = "spark_ctr part"  # the part of the log, which counts rows and labels in the same pass


@dataclass(frozen=True)
class LabelTotals:
    """What a dataset holds.

    Attributes
    ----------
    rows, invalid, positives : int
        Rows, those whose label is invalid, and those with label 1.
    parts, labelled_parts : int64 array, shape (SLICES,), or None
        Rows, and rows with a label, of each part of the log; None where it has no order.
    """

    rows: int
    invalid: int
    positives: int
    parts: np.ndarray | None = None
    labelled_parts: np.ndarray | None = None


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
    counted = dataset.withColumn(_PART, (F.lit("") if part is None else part).cast("string"))
    rows = count_kinds(counted, [*names, _PART], valid_label(label), part).collect()
    table: dict[int, list[Any]] = {}
    for row in rows:
        table.setdefault(row["column"], []).append(row)
    total = table.pop(len(names), [])
    n, labelled, positives = (
        sum(row[key] * row["values"] for row in total) for key in ("rows", "labelled", "positives")
    )
    parts = [None, None] if part is None else [_parts(total, key) for key in ("rows", "labelled")]
    return [
        _counted(table.get(index, []), part is not None) for index in range(len(names))
    ], LabelTotals(n, n - labelled, positives, *parts)


def _parts(rows: list[Any], key: str) -> np.ndarray:
    """Rows of each part of the log; those without an order are in none."""
    found = [(row["slice"], row[key] * row["values"]) for row in rows if row["slice"] < SLICES]
    at, sizes = (np.array(column, np.int64) for column in zip(*found, strict=True))
    return np.bincount(at, sizes, minlength=SLICES).astype(np.int64)


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

    Content draws the rows, so the sample is the same however the dataset is partitioned. A row that
    is there m times is in it m times its share, rounded up or down at random; so rows are grouped
    first, a shuffle of at most `_GROUPED` times as many rows as the sample shall have.

    Parameters
    ----------
    dataset : DataFrame
        Of `rows` rows.
    names : sequence of str
        Columns of single values; arrays have no one value to pair.
    label : str
    limit, seed : int
        About so many rows are collected, as hashes; all where there are no more. The same seed
        draws the same rows.
    """
    scalar = [name for name in names if not is_array(dataset, name)]
    if not scalar or limit == 0:
        return {}
    share = min(1.0, limit / max(rows, 1))
    if share * _GROUPED < 1 and (raw := raw_columns(dataset, [])):
        # of the whole log, so that only rows that repeat in every column go together
        dataset = dataset.where(_uniform(raw_hash(dataset, raw, seed)) < share * _GROUPED)
        share = 1 / _GROUPED
    codes = [_code(dataset, name).alias(f"h{i}") for i, name in enumerate(scalar)]
    labelled = dataset.select(valid_label(label).alias("label"), *codes).where("label IS NOT NULL")
    different = labelled.groupBy(*labelled.columns).count()
    # the order of the columns has no part in the draw
    content = F.xxhash64(F.array_sort(F.array(*labelled.columns[1:])), "label", F.lit(seed))
    copies = F.floor(F.col("count") * F.lit(share) + _uniform(content)).cast("int")
    kept = different.withColumn("count", copies).where("count > 0")
    lists = kept.agg(*[F.collect_list(name) for name in kept.columns]).collect()[0]
    *found, times = (np.array(values) for values in lists)
    y, *columns = (np.repeat(values, times.astype(np.int64)) for values in found)
    # in one order, as above
    order = np.lexsort([y, *columns])
    codes_of = {n: c[order].astype(np.int64) for n, c in zip(scalar, columns, strict=True)}
    return joint_relevance(codes_of, y[order])


def _uniform(hashed: Column) -> Column:
    """Return a hash as a number in [0, 1)."""
    return F.shiftrightunsigned(hashed, 11) / F.lit(2.0**53)


def without_false_copies(
    dataset: DataFrame, stats: Sequence[ColumnStats], label: str | None
) -> list[ColumnStats]:
    """Return the statistics without the copies that differ somewhere in the dataset.

    A sample may have missed where columns differ. So columns that went one to one in it and have
    equal counts are compared on all rows, in one job, which most logs do not need.

    Parameters
    ----------
    dataset : DataFrame
    stats : sequence of ColumnStats
    label : str, optional
        Only rows with a valid one count.
    """
    found = {one.name: one for one in stats}
    pairs = [
        (one.name, other)
        for one in stats
        for other in (one.joint.copies if one.joint is not None else ())
        if one.name < other and alike(one, found[other])
    ]
    true: set[tuple[str, str]] = set()
    if pairs:
        rows = dataset if label is None else dataset.where(valid_label(label).isNotNull())
        both = [F.struct(_code(dataset, one), _code(dataset, other)) for one, other in pairs]
        numbers = rows.agg(*[F.count_distinct(pair) for pair in both]).collect()[0]
        true = {
            (one, other)
            for (one, other), number in zip(pairs, numbers, strict=True)
            if number == found[one].histogram.n + (found[one].missing > 0)
        }

    def kept(one: ColumnStats) -> ColumnStats:
        if one.joint is None or not one.joint.copies:
            return one
        copies = tuple(c for c in one.joint.copies if (min(c, one.name), max(c, one.name)) in true)
        return replace(one, joint=replace(one.joint, copies=copies))

    return [kept(one) for one in stats]


def _code(dataset: DataFrame, name: str) -> Column:
    text = texts_of(dataset, name)
    # missing is one more value, which clashes with another one in 2**64
    return F.when(text.isNull(), F.lit(0)).otherwise(F.xxhash64(text))

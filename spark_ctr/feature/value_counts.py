"""Counts of every value of many columns, from one pass over a dataset."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import is_array, texts_of
from spark_ctr.jvm import use_jvm_functions

_MAX_SLICE = 2**31 - 1


def count_values(
    dataset: DataFrame,
    names: Sequence[str],
    label: Column | None = None,
    time_slice: Column | None = None,
) -> DataFrame:
    """Count every value of some columns.

    Values are told apart by the 64-bit hash of their text (`spark_ctr.hashing.value_hash`): two of
    V values share one with probability V**2 / 2**65, which is 7e-5 for 50 million. An element of an
    array counts like a value of its own; an empty array counts as missing.

    With spark_ctr's JVM functions each task counts in hash tables of its own and passes on at most
    a row a range of hashes, so neither the driver nor a task ever holds the vocabulary; without
    them the same counts come from an explode and a groupBy.

    Parameters
    ----------
    dataset : DataFrame
    names : sequence of str
        Categorical columns, or arrays of categorical values.
    label : Column, optional
        Double: 1 is positive, any other number negative, null unlabelled.
    time_slice : Column, optional
        Int: the part of the log that a row belongs to.

    Returns
    -------
    DataFrame
        column int (position in `names`), hash bigint (null for missing), rows, labelled, positives
        bigint, slice int: the smallest of the value's rows.
    """
    hashed = _hashed(dataset, names, label, time_slice)
    if use_jvm_functions(dataset.sparkSession):
        return _blocks(hashed).selectExpr("ctr_merge_counts(part, block)")
    return _grouped(hashed)


def count_kinds(
    dataset: DataFrame,
    names: Sequence[str],
    label: Column | None = None,
    time_slice: Column | None = None,
) -> DataFrame:
    """Count how many values of some columns have the same counts.

    Takes what `count_values` takes.

    Returns
    -------
    DataFrame
        column int, missing boolean, rows, labelled, positives bigint, slice int, values bigint: how
        many values have these.
    """
    keys = ("column", "missing", "rows", "labelled", "positives", "slice")
    hashed = _hashed(dataset, names, label, time_slice)
    if use_jvm_functions(dataset.sparkSession):
        kinds = _blocks(hashed).selectExpr("ctr_count_histogram(part, block)")
    else:
        kinds = _grouped(hashed).withColumns(
            {"missing": F.col("hash").isNull(), "values": F.lit(1).cast("bigint")}
        )
    return kinds.groupBy(*keys).agg(F.sum("values").alias("values"))


def _hashed(
    dataset: DataFrame, names: Sequence[str], label: Column | None, time_slice: Column | None
) -> DataFrame:
    """Return label, slice and the hashes h0, h1, ... of the columns."""
    label = F.lit(None).cast("double") if label is None else label.cast("double")
    time_slice = F.lit(0) if time_slice is None else time_slice.cast("int")
    return dataset.select(
        label.alias("label"),
        time_slice.alias("slice"),
        *[_hashes(dataset, name).alias(f"h{i}") for i, name in enumerate(names)],
    )


def _blocks(hashed: DataFrame) -> DataFrame:
    """Return partial counts, the blocks of a part together, for the JVM functions to add up."""
    arguments = ", ".join(hashed.columns)
    counted = hashed.selectExpr(f"ctr_value_counts({arguments})")
    return counted.repartition("part").sortWithinPartitions("part")


def _grouped(hashed: DataFrame) -> DataFrame:
    """Return the counts from Spark's built-in functions."""
    single: list[int] = []
    several: list[int] = []
    for index in range(len(hashed.columns) - 2):
        kind = hashed.schema[f"h{index}"].dataType
        (several if isinstance(kind, T.ArrayType) else single).append(index)
    # Spark compiles the struct of a single value, but not the lambda of an array.
    pairs = F.array(*[_pair(index, F.col(f"h{index}")) for index in single])
    if several:
        pairs = F.concat(*([pairs] if single else []), *[_pairs(index) for index in several])
    exploded = hashed.select("label", "slice", F.explode(pairs).alias("pair"))
    return exploded.groupBy(F.col("pair.c").alias("column"), F.col("pair.h").alias("hash")).agg(
        F.count(F.lit(1)).alias("rows"),
        F.count("label").alias("labelled"),
        F.count(F.when(F.col("label") == 1.0, True)).alias("positives"),
        F.coalesce(F.min("slice"), F.lit(_MAX_SLICE)).alias("slice"),
    )


def _hashes(dataset: DataFrame, name: str) -> Column:
    texts = texts_of(dataset, name)
    return F.transform(texts, _hash) if is_array(dataset, name) else _hash(texts)


def _hash(text: Column) -> Column:
    return F.when(text.isNotNull(), F.xxhash64(text))


def _pair(index: int, hashed: Column) -> Column:
    return F.struct(F.lit(index).alias("c"), hashed.alias("h"))


def _pairs(index: int) -> Column:
    """Return (column, hash) of each element of an array, of a missing one if it is empty."""
    hashes = F.col(f"h{index}")
    nothing = F.array(F.lit(None).cast("bigint"))
    elements = F.when(F.size(hashes) > 0, hashes).otherwise(nothing)
    return F.transform(elements, lambda hashed: _pair(index, hashed))

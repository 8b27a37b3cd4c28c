"""A hash of what a row of the log holds, whatever was made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import column, field_of, metadata_of, name_key

# Columns that Spark's tuning adds to the rows of a fold; their draws depend on partitions.
_FOLDS = re.compile(r"(CrossValidator|TrainValidationSplit)_[0-9a-f]+_rand")
# xxhash64 does not take all types, and later Sparks have types nobody knows yet.
_HASHED = (
    T.NumericType,
    T.StringType,
    T.BinaryType,
    T.BooleanType,
    T.DateType,
    T.TimestampType,
    T.TimestampNTZType,
    T.DayTimeIntervalType,
    T.YearMonthIntervalType,
    T.NullType,
)


def raw_columns(dataset: DataFrame, left_out: Iterable[str]) -> list[str]:
    """Name the columns of the log itself.

    They are those that no stage of spark_ctr made. Also left out are names that two columns share,
    since Spark cannot tell them apart, what cross-validation adds, and types without a hash.

    Parameters
    ----------
    dataset : DataFrame
    left_out : iterable of str
        Further columns to leave out.
    """
    key = name_key(dataset)
    times = Counter(map(key, dataset.columns))
    without = {*map(key, left_out)}
    return [
        f.name
        for f in dataset.schema.fields
        if key(f.name) not in without
        and times[key(f.name)] == 1
        and not _FOLDS.fullmatch(f.name)
        and not {"derived", "tables", "names"} & metadata_of(f).keys()
        and _is_hashed(f.dataType)
    ]


def raw_hash(dataset: DataFrame, names: Iterable[str], seed: int) -> Column:
    """Return the 64-bit hash of some columns of a row, whatever their names and their order.

    It hashes values and not their texts, so that no setting of the session has a part in it. Maps
    count by their entries, in any order.
    """
    values = [_hashable(column(name), field_of(dataset, name).dataType) for name in names]
    return F.xxhash64(F.array_sort(F.array(*map(F.xxhash64, values))), F.lit(seed))


def _is_hashed(kind: T.DataType) -> bool:
    if isinstance(kind, T.ArrayType):
        return _is_hashed(kind.elementType)
    if isinstance(kind, T.MapType):
        return _is_hashed(kind.keyType) and _is_hashed(kind.valueType)
    if isinstance(kind, T.StructType):
        return all(_is_hashed(f.dataType) for f in kind.fields)
    if isinstance(kind, T.UserDefinedType):
        return _is_hashed(kind.sqlType())
    return isinstance(kind, _HASHED)


def _holds_map(kind: T.DataType) -> bool:
    if isinstance(kind, T.ArrayType):
        return _holds_map(kind.elementType)
    if isinstance(kind, T.StructType):
        return any(_holds_map(f.dataType) for f in kind.fields)
    return isinstance(kind, T.MapType)


def _hashable(value: Column, kind: T.DataType) -> Column:
    """Return what xxhash64 takes, which maps it does not."""
    if not _holds_map(kind):
        return value
    if isinstance(kind, T.MapType):
        entries = F.transform(
            F.map_entries(value),
            lambda entry: F.xxhash64(
                _hashable(entry["key"], kind.keyType), _hashable(entry["value"], kind.valueType)
            ),
        )
        return F.array_sort(entries)
    if isinstance(kind, T.ArrayType):
        return F.transform(value, lambda item: _hashable(item, kind.elementType))
    assert isinstance(kind, T.StructType)
    return F.struct(*[_hashable(value.getField(f.name), f.dataType) for f in kind.fields])

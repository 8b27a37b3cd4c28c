"""The two feature columns taken apart, and which of their elements are valid."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_ctr.stage.columns import column
from spark_ctr.tables import Inputs, is_valid_id


def elements(inputs: Inputs, categorical: str, numeric: str, prefix: str = "") -> list[Column]:
    """Ids and numbers as one nullable column each, named c0.. (int) and n0.. (float)."""
    ids, numbers = column(categorical), column(numeric)
    flat = [F.get(ids, F.lit(i)).alias(f"{prefix}c{i}") for i in range(inputs.ids_width)]
    return flat + [
        F.get(numbers, F.lit(i)).cast("float").alias(f"{prefix}n{i}")
        for i in range(len(inputs.numeric))
    ]


def invalid_features(inputs: Inputs, categorical: str, numeric: str) -> Column:
    """Whether a row's features are null, of wrong length, out of range or not finite."""
    ids, numbers = column(categorical), column(numeric)
    good = F.size(numbers) == len(inputs.numeric)
    if not inputs.tables:
        good = good & (F.size(ids) == 0)
    if inputs.tables:
        # One look at the array: many would each repeat the expression that makes it. Arrays of
        # different lengths are padded with nulls, which fail.
        in_range = F.zip_with(
            ids,
            _ranges(inputs),
            lambda i, table: F.coalesce(
                is_valid_id(i, table.lowest, table.rows, table.padded), F.lit(False)
            ),
        )
        good = good & F.forall(in_range, lambda inside: inside)
    good = good & F.forall(numbers, _finite)
    return ~F.coalesce(good, F.lit(False))


def _finite(number: Column) -> Column:
    """Whether a number is finite as the float that networks read."""
    return F.coalesce(F.abs(number.cast("float")) < float("inf"), F.lit(False))


def _ranges(inputs: Inputs) -> Column:
    """Array of a struct for each id of a row: least id, rows, and whether it may be padding."""
    return F.array(
        *[
            F.struct(
                F.lit(table.lowest).alias("lowest"),
                F.lit(table.rows).alias("rows"),
                F.lit(table.padded).alias("padded"),
            )
            for table in inputs.slot_tables
        ]
    )


def usable_elements(inputs: Inputs, flat: list[Column], prefix: str = "") -> list[Column]:
    """Elements with what is invalid read as missing: id 0, number 0."""
    ids = []
    for i, (c, table) in enumerate(zip(flat, inputs.slot_tables, strict=False)):
        good = is_valid_id(c, table.lowest, table.rows, F.lit(True) if table.padded else None)
        ids.append(F.when(good, c).otherwise(F.lit(0)).alias(f"{prefix}c{i}"))
    zero = F.lit(0.0).cast("float")
    return ids + [
        F.when(F.abs(c) < float("inf"), c).otherwise(zero).alias(f"{prefix}n{i}")
        for i, c in enumerate(flat[inputs.ids_width :])
    ]

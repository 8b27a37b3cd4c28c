"""Columns of a dataset: quoting, schema checks with helpful errors, spark_ctr's column metadata."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

METADATA_KEY = "spark_ctr"

CATEGORICAL_TYPES = (
    T.StringType,
    T.IntegralType,
    T.BooleanType,
    T.DateType,
    T.DecimalType,
)
NUMERIC_TYPES = (T.NumericType, T.BooleanType)
TIMESTAMP_TYPES = (T.TimestampType, T.TimestampNTZType, T.DateType, T.StringType)


def column(name: str) -> Column:
    """Column by its exact name, dots and backticks included."""
    return F.col(quoted(name))


def compiled_apart(constant: Column) -> Column:
    """Return a constant that makes Spark compile the projection it is in by itself.

    Merged into one whole-stage method a wide projection exceeds what the JVM's just-in-time
    compiler takes (8,000 bytes) and runs interpreted. A higher-order function, which has no
    generated code and is not folded, keeps it out of the whole-stage method. Spark 4.3 has
    generated code for it too, so there this changes nothing.
    """
    return F.element_at(F.transform(F.array(constant), lambda x: x), 1)


def quoted(name: str) -> str:
    """Name as SQL quotes it."""
    return "`" + name.replace("`", "``") + "`"


def field(dataset: DataFrame, name: str, role: str, types: tuple[type, ...]) -> T.StructField:
    """Field of the dataset's schema.

    Raises
    ------
    ValueError
        If the column is missing; similar names are suggested.
    TypeError
        If its type is not one of ``types``.
    """
    schema = dataset.schema
    if name not in schema.names:
        close = difflib.get_close_matches(name, schema.names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"column {name!r} ({role}) is not in the dataset{hint} "
            f"Its columns are {', '.join(schema.names)}."
        )
    found = schema[name]
    if not isinstance(found.dataType, types):
        allowed = ", ".join(kind.__name__.removesuffix("Type").lower() for kind in types)
        raise TypeError(
            f"column {name!r} ({role}) has type {found.dataType.simpleString()}; "
            f"it must be {allowed}: cast it first"
        )
    return found


def categorical_field(dataset: DataFrame, name: str, role: str) -> T.StructField:
    """Field of a categorical column, which may be an array of categorical values.

    Raises
    ------
    ValueError, TypeError
        As `field`.
    """
    found = field(dataset, name, role, (*CATEGORICAL_TYPES, T.ArrayType))
    element = getattr(found.dataType, "elementType", None)
    if element is not None and not isinstance(element, CATEGORICAL_TYPES):
        raise TypeError(
            f"column {name!r} ({role}) has type {found.dataType.simpleString()}; the elements of "
            "an array must be string, integral, boolean, date, decimal: cast them first"
        )
    return found


def check_new(dataset: DataFrame, outputs: Iterable[str], role: str) -> None:
    """Refuse output columns that exist already or are named twice.

    Raises
    ------
    ValueError
        Names the clashing columns and the Param that renames them.
    """
    present = {name.lower() for name in dataset.columns}
    wanted = list(outputs)
    clash = [name for name in wanted if name.lower() in present]
    if clash:
        raise ValueError(
            f"output column {', '.join(map(repr, clash))} ({role}) already exists in the dataset; "
            f"drop it or choose another name with {role}"
        )
    repeated = sorted({name for name in wanted if wanted.count(name) > 1})
    if repeated:
        raise ValueError(f"{role} gives the name {', '.join(map(repr, repeated))} twice")


def check_distinct(names: list[str], role: str) -> None:
    """Refuse a column that a Param names twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{role} names {', '.join(map(repr, repeated))} twice")


def with_metadata(expression: Column, name: str, facts: dict[str, Any]) -> Column:
    """Name an expression and attach spark_ctr's facts about it."""
    return expression.alias(name, metadata={METADATA_KEY: json.dumps(facts, sort_keys=True)})


def metadata_of(found: T.StructField) -> dict[str, Any]:
    """spark_ctr's facts about a column, empty if there are none."""
    text = (found.metadata or {}).get(METADATA_KEY)
    return json.loads(text) if text else {}


def columns_of_kind(dataset: DataFrame, kind: str) -> list[str]:
    """Columns that an earlier stage marked as ``categorical`` or ``numeric``."""
    return [f.name for f in dataset.schema.fields if metadata_of(f).get("kind") == kind]


def replace_columns(dataset: DataFrame, replaced: dict[str, Column]) -> DataFrame:
    """Dataset with some columns replaced in place; the order of columns stays."""
    return dataset.select([replaced.get(name, column(name)) for name in dataset.columns])


def add_columns(dataset: DataFrame, added: list[Column]) -> DataFrame:
    """Dataset with columns appended in one projection."""
    return dataset.select("*", *added)

"""Columns of a dataset: quoting, schema checks with helpful errors, spark_ctr's column metadata."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def name_key(dataset: DataFrame) -> Callable[[str], str]:
    """Return what makes two names of columns equal in the dataset's session.

    Names are one column's where the keys are equal: Spark tells upper and lower case apart only
    with ``spark.sql.caseSensitive``.
    """
    sensitive = dataset.sparkSession.conf.get("spark.sql.caseSensitive", "false")
    return str if str(sensitive).lower() == "true" else str.lower


def fields_named(dataset: DataFrame, name: str) -> list[T.StructField]:
    """Fields that the session takes for a column of this name; none, one, or several."""
    alike = [f for f in dataset.schema.fields if f.name.lower() == name.lower()]
    if all(f.name == name for f in alike):
        return alike  # nothing to ask the session for
    key = name_key(dataset)
    return [f for f in alike if key(f.name) == key(name)]


def field_of(dataset: DataFrame, name: str, role: str = "") -> T.StructField:
    """Field of a column of any type.

    Raises
    ------
    ValueError
        If the column is missing, and similar names are suggested; or if there are several of the
        name, so that none can be read.
    """
    found, of = fields_named(dataset, name), f" ({role})" if role else ""
    if not found:
        names = dataset.schema.names
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(map(repr, close))}?" if close else "."
        raise ValueError(
            f"column {name!r}{of} is not in the dataset{hint} Its columns are {', '.join(names)}."
        )
    if len(found) > 1:
        spelled = ", ".join(dict.fromkeys(repr(f.name) for f in found))
        raise ValueError(
            f"column {name!r}{of} is ambiguous: {len(found)} columns of the dataset have this name "
            f"({spelled}); drop or rename all but one of them first"
        )
    return found[0]


def field(dataset: DataFrame, name: str, role: str, types: tuple[type, ...]) -> T.StructField:
    """Field of the dataset's schema.

    Raises
    ------
    ValueError
        As `field_of`.
    TypeError
        If its type is not one of ``types``.
    """
    found = field_of(dataset, name, role)
    if not isinstance(found.dataType, types):
        allowed = ", ".join(kind.__name__.removesuffix("Type").lower() for kind in types)
        raise TypeError(
            f"column {name!r} ({role}) has type {found.dataType.simpleString()}; "
            f"it must be {allowed}: convert it first (try_cast makes null what cannot be read)"
        )
    return found


def categorical_field(dataset: DataFrame, name: str, role: str) -> T.StructField:
    """Field of a categorical column, which may be an array of categorical values.

    Raises
    ------
    ValueError, TypeError
        As `field`.
    """
    # pandas makes doubles of integers with nulls: see spark_ctr.feature.category_text
    found = field(dataset, name, role, (*CATEGORICAL_TYPES, T.DoubleType, T.FloatType, T.ArrayType))
    element = getattr(found.dataType, "elementType", None)
    if element is not None and not isinstance(element, CATEGORICAL_TYPES):
        raise TypeError(
            f"column {name!r} ({role}) has type {found.dataType.simpleString()}; the elements of "
            "an array must be string, integral, boolean, date, decimal: cast them first"
        )
    return found


def check_new(dataset: DataFrame, outputs: Iterable[str], role: str) -> None:
    """Refuse output columns that exist already or that the session takes for one.

    Raises
    ------
    ValueError
        Names the clashing columns and the Param that renames them.
    """
    key, wanted = name_key(dataset), list(outputs)
    present: dict[str, list[str]] = {}
    for name in dataset.columns:
        present.setdefault(key(name), []).append(name)
    clash = [name for name in wanted if key(name) in present]
    if clash:
        spelled = [other for name in clash for other in present[key(name)] if other != name]
        other = f" as {', '.join(map(repr, dict.fromkeys(spelled)))}" if spelled else ""
        raise ValueError(
            f"output column {', '.join(map(repr, clash))} ({role}) already exists in the dataset"
            f"{other}; drop it or choose another name with {role}"
        )
    repeated = _repeated(wanted, key)
    if repeated:
        raise ValueError(
            f"{role} gives {repeated}: rename one of the columns that they are made from"
        )


def check_distinct(dataset: DataFrame, names: Sequence[str], role: str) -> None:
    """Refuse a column that Params name twice, by the session's rule of equal names.

    Raises
    ------
    ValueError
        Names the column and the Params.
    """
    repeated = _repeated(names, name_key(dataset))
    if repeated:
        raise ValueError(f"{role} names {repeated}")


def _repeated(names: Sequence[str], key: Callable[[str], str]) -> str:
    """Say which names are there more than once, and why; empty if none is."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    alike = [spelled for spelled in groups.values() if len(spelled) > 1]
    twice = [spelled[0] for spelled in alike if len(set(spelled)) == 1]
    by_case = [" and ".join(map(repr, dict.fromkeys(s))) for s in alike if len(set(s)) > 1]
    said = [f"{', '.join(map(repr, twice))} twice"] if twice else []
    if by_case:
        said.append(
            f"{', '.join(by_case)}, which are one column while spark.sql.caseSensitive is false"
        )
    return "; ".join(said)


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


def set_metadata(dataset: DataFrame, metadata: Mapping[str, dict[str, Any]]) -> DataFrame:
    """Dataset with the metadata of some columns replaced; columns stay where they are.

    Parameters
    ----------
    dataset : DataFrame
        May hold several columns of one name, as a join makes them, besides those changed.
    metadata : mapping of str to dict
        By the column's name as the schema spells it.
    """
    names, key = dataset.columns, name_key(dataset)
    if len(set(map(key, names))) == len(names):
        return dataset.select(
            [
                column(name).alias(name, metadata=metadata[name])
                if name in metadata
                else column(name)
                for name in names
            ]
        )
    # Several columns of one name cannot be named in a select. withMetadata leaves them alone, but
    # reads dots in a name as SQL does, and a renamed column would lose the metadata set before.
    passing = {name: f"__{index}_metadata" for index, name in enumerate(metadata)}
    for name, new in passing.items():  # one by one: Spark 3.5 renames several of unique names only
        dataset = dataset.withColumnRenamed(name, new)
    for name, facts in metadata.items():
        dataset = dataset.withMetadata(passing[name], facts)
    for name, new in passing.items():
        dataset = dataset.withColumnRenamed(new, name)
    return dataset


def add_columns(dataset: DataFrame, added: list[Column]) -> DataFrame:
    """Dataset with columns appended in one projection."""
    return dataset.select("*", *added)

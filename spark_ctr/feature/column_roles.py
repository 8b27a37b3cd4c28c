"""Guess what each column of an unknown click log is for, and say why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import texts_of
from spark_ctr.stage.columns import CATEGORICAL_TYPES, TIMESTAMP_TYPES, column, fields_named
from spark_ctr.stage.session import check_running
from spark_ctr.stage.times import names_hour, read_time

CATEGORICAL, NUMERIC, TIME, LABEL, LEFT_OUT = "categorical", "numeric", "time", "label", "left out"

# Names under which click logs keep outcomes; the first one present is taken for the label.
OUTCOMES = (
    "label",
    "click",
    "clicked",
    "is_click",
    "is_clicked",
    "target",
    "is_attributed",
    "conversion",
    "converted",
    "income",
)
FEW_VALUES = 30
UNIQUE_SHARE = 0.9
TIME_SHARE = 0.5  # of the texts of a column that is taken for a time
_IDENTIFIERS = [
    "id",
    "ids",
    "user",
    "item",
    "ad",
    "ads",
    "advertiser",
    "campaign",
    "creative",
    "slot",
    "position",
    "placement",
    "site",
    "page",
    "domain",
    "publisher",
    "app",
    "device",
    "os",
    "browser",
    "ip",
    "channel",
    "country",
    "region",
    "city",
    "zip",
    "category",
    "brand",
    "shop",
    "seller",
    "product",
    "query",
    "code",
    "hash",
    "cookie",
    "segment",
]


@dataclass(frozen=True)
class ColumnRole:
    """What a column is for.

    Attributes
    ----------
    column : str
    role : {"label", "categorical", "numeric", "time", "left out"} or a role that was named
    reason : str
        For people.
    """

    column: str
    role: str
    reason: str


def infer_roles(
    dataset: DataFrame,
    named: dict[str, str] | None = None,
    ignore: Iterable[str] = (),
) -> list[ColumnRole]:
    """Give every column of a dataset a role.

    Roles that are named stay. Of the others, a column with an outcome's name is the label; text,
    booleans and arrays of categorical values are categorical, fractions numeric. Whole numbers,
    also those in a column of fractions, as pandas makes of integers with nulls, are categorical
    when they have an identifier's name or at most 30 values, numeric otherwise. A timestamp is the
    time, and so is text that mostly reads as one (see `spark_ctr.feature.read_time`); a time of day
    goes before a mere date. Left out are constants, columns of row identifiers, other times, other
    outcomes and what is named after an outcome (a feature must be known before the click), and
    other nested types. Runs one aggregation, and another for each array column.

    Parameters
    ----------
    dataset : DataFrame
    named : dict of str to str, optional
        Roles by column.
    ignore : iterable of str
        Columns to leave out; "*" for every column that is not named.

    Returns
    -------
    list of ColumnRole
        In the order of the dataset's columns.

    Raises
    ------
    ValueError
        If a named or ignored column is missing, there are no rows, or no label is recognised.
    """
    check_running(dataset)
    named = {_spelled(dataset, name): role for name, role in (named or {}).items()}
    ignored = {_spelled(dataset, name) for name in ignore}
    _check_present(dataset, [*named, *(ignored - {"*"})])
    if LABEL not in named.values():
        named |= _label(dataset, set(named) | ignored)
    named_times = [name for name, role in named.items() if role == TIME]
    rest_ignored = "*" in ignored
    open_columns = [
        f
        for f in dataset.schema.fields
        if f.name not in named and f.name not in ignored and not rest_ignored
    ]
    measured = [f for f in dataset.schema.fields if f in open_columns or f.name in named_times]
    facts = _facts(dataset, measured) if measured else {}
    outcomes = [name for name, role in named.items() if role == LABEL] + list(OUTCOMES)
    time = named_times[0] if named_times else _time_column(open_columns, facts)
    roles = []
    for field in dataset.schema.fields:
        if field.name in named:
            reason = _named_reason(field, named[field.name], facts)
            found = ColumnRole(field.name, named[field.name], reason)
        elif rest_ignored or field.name in ignored:
            found = ColumnRole(field.name, LEFT_OUT, "ignored, as asked")
        else:
            found = ColumnRole(field.name, *_role(field, facts[field.name], outcomes, time))
        roles.append(found)
    return roles


def _spelled(dataset: DataFrame, name: str) -> str:
    """Return a name as the dataset spells it, if the session takes the two for one."""
    found = fields_named(dataset, name)
    return found[0].name if found and name not in dataset.columns else name


def _named_reason(field: T.StructField, role: str, facts: dict[str, dict[str, int]]) -> str:
    if role == TIME:
        return f"named{_without_time(field, facts[field.name])}"
    return "named" if role != LABEL else "the outcome to predict"


def _without_time(field: T.StructField, facts: dict[str, int]) -> str:
    """Say how many rows have no time."""
    if not isinstance(field.dataType, TIMESTAMP_TYPES):
        return ""
    text = isinstance(field.dataType, T.StringType)
    without = facts["rows"] - facts["times" if text else "present"]
    if not without:
        return ""
    return f"; {without:,} of {facts['rows']:,} rows have no {'readable ' if text else ''}time"


def _check_present(dataset: DataFrame, names: list[str]) -> None:
    missing = sorted(set(names) - set(dataset.columns))
    if missing:
        raise ValueError(
            f"the dataset has no column {', '.join(map(repr, missing))}; "
            f"its columns are {', '.join(dataset.columns)}"
        )


def _label(dataset: DataFrame, taken: set[str]) -> dict[str, str]:
    present = {name.lower(): name for name in dataset.columns if name not in taken}
    for outcome in OUTCOMES:
        if outcome in present:
            return {present[outcome]: LABEL}
    raise ValueError(
        f"no column looks like the label (known names: {', '.join(OUTCOMES)}); name it; the "
        f"dataset's columns are {', '.join(dataset.columns)}"
    )


def _facts(dataset: DataFrame, fields: list[T.StructField]) -> dict[str, dict[str, int]]:
    """Rows, and present and (approximately) distinct values of each column of a known type.

    Of fractions also those that are no whole numbers, of text what reads as a time, and as a time
    of day.
    """
    flat = [f for f in fields if _is_flat(f.dataType)]
    aggregates = [F.count(F.lit(1)).alias("rows")]
    for index, field in enumerate(flat):
        value = column(field.name)
        if isinstance(field.dataType, T.FractionalType):
            number = value.cast(T.DoubleType())
            value = F.when(F.abs(number) < float("inf"), number)
            aggregates.append(_count(F.rint(value) != value).alias(f"fractions_{index}"))
        if isinstance(field.dataType, T.StringType):
            readable = read_time(dataset, field.name).isNotNull()
            aggregates.append(_count(readable).alias(f"times_{index}"))
            hours = readable & names_hour(field.name)
            aggregates.append(_count(hours).alias(f"hours_{index}"))
        aggregates += [
            F.count(value).alias(f"present_{index}"),
            F.approx_count_distinct(value).alias(f"distinct_{index}"),
        ]
    found = dataset.agg(*aggregates).collect()[0].asDict()
    if not found["rows"]:
        raise ValueError("the dataset has no rows to infer the columns' roles from")
    facts: dict[str, dict[str, int]] = {f.name: {} for f in fields}
    for index, field in enumerate(flat):
        facts[field.name] = {"rows": found["rows"]} | {
            key: found[f"{key}_{index}"]
            for key in ("present", "distinct", "fractions", "times", "hours")
            if f"{key}_{index}" in found
        }
    for field in fields:
        if _is_bag(field.dataType):
            element = dataset.select(F.explode(texts_of(dataset, field.name)).alias("element"))
            counts = element.agg(F.count("element"), F.approx_count_distinct("element"))
            present, distinct = counts.collect()[0]
            facts[field.name] = {"present": present, "distinct": distinct}
    return facts


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, True))


def _is_flat(kind: T.DataType) -> bool:
    return isinstance(
        kind, (*CATEGORICAL_TYPES, T.NumericType, T.TimestampType, T.TimestampNTZType)
    )


def _is_bag(kind: T.DataType) -> bool:
    return isinstance(kind, T.ArrayType) and isinstance(kind.elementType, CATEGORICAL_TYPES)


def _time_column(fields: list[T.StructField], facts: dict[str, dict[str, int]]) -> str | None:
    """Return the column that gives the time: timestamps, then texts with hours, then dates."""
    ranked = [(rank, f.name) for f in fields if (rank := _time_rank(f, facts[f.name])) is not None]
    return min(ranked, key=lambda one: one[0])[1] if ranked else None


def _time_rank(field: T.StructField, facts: dict[str, int]) -> int | None:
    kind = field.dataType
    if not facts or not facts["present"]:
        return None
    if isinstance(kind, T.TimestampType | T.TimestampNTZType):
        return 0
    if isinstance(kind, T.DateType):
        return 2
    if facts.get("times", 0) <= TIME_SHARE * facts["present"] or facts["distinct"] == 1:
        return None
    return 1 if facts["hours"] > TIME_SHARE * facts["times"] else 3


def _role(
    field: T.StructField, facts: dict[str, int], outcomes: list[str], time: str | None
) -> tuple[str, str]:
    name, kind = field.name, field.dataType
    if not facts:
        return LEFT_OUT, f"type {kind.simpleString()} is not supported"
    distinct, present = facts["distinct"], facts["present"]
    if present == 0:
        return LEFT_OUT, "null in every row"
    if _time_rank(field, facts) is not None:
        if name != time:
            return LEFT_OUT, "a second time column"
        read = isinstance(kind, T.StringType)
        what = "text that reads as a time" if read else f"a {kind.simpleString()}"
        return TIME, f"{what}: gives hour and weekday{_without_time(field, facts)}"
    if distinct == 1:
        return LEFT_OUT, "one value only"
    if name.lower() in outcomes:
        return LEFT_OUT, "an outcome itself, not known before the label"
    after = next((o for o in outcomes if name.lower().startswith(f"{o.lower()}_")), None)
    if after is not None and not _is_identifier(name):
        return LEFT_OUT, f"named after the outcome {after!r}, so perhaps known only afterwards"
    if isinstance(kind, T.ArrayType):
        return _bag_role(kind, distinct, present)
    if facts.get("fractions"):
        return NUMERIC, "a fraction"
    if isinstance(kind, T.BooleanType):
        return CATEGORICAL, "true or false"
    values = f"about {distinct:,} values"
    identifier = _is_identifier(name)
    # The count is approximate, so a row identifier may seem to have fewer values than rows.
    unique = present > FEW_VALUES and distinct >= UNIQUE_SHARE * present
    if unique and (identifier or isinstance(kind, T.StringType)):
        return LEFT_OUT, f"{values} in {present:,} rows: it identifies the row"
    if isinstance(kind, T.StringType):
        return CATEGORICAL, f"text, {values}"
    whole = "whole numbers"
    if isinstance(kind, T.DoubleType | T.FloatType):
        whole += f" in a {kind.simpleString()}, as integers beside nulls become"
    if identifier:
        of = "" if isinstance(kind, T.IntegralType) else f"{whole}; "
        return CATEGORICAL, f"{of}an identifier by its name, {values}"
    if distinct <= FEW_VALUES:
        return CATEGORICAL, f"{whole}, only {values}"
    return NUMERIC, f"{whole}, {values}"


def _bag_role(kind: T.ArrayType, distinct: int, present: int) -> tuple[str, str]:
    values = f"about {distinct:,} different ones"
    if present > FEW_VALUES and distinct >= UNIQUE_SHARE * present:
        return LEFT_OUT, f"{values} among {present:,} elements: hardly any occurs twice"
    what = "texts" if isinstance(kind.elementType, T.StringType) else "values"
    return CATEGORICAL, f"several {what} a row, {values}"


def _is_identifier(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return any(word in _IDENTIFIERS for word in re.split(r"[^a-z]+", words))

"""Guess what each column of an unknown click log is for, and say why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import CATEGORICAL_TYPES, column

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

    Roles that are named stay. Of the others, a column with an outcome's name is the label, text
    and booleans are categorical, fractions numeric, a timestamp is the time. Whole numbers are
    categorical when they have an identifier's name or at most 30 values, numeric otherwise.
    Left out are constants, columns of row identifiers, other outcomes and what is named after an
    outcome (a feature must be known before the click), and nested types. Runs one aggregation.

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
    named, ignored = dict(named or {}), set(ignore)
    _check_present(dataset, [*named, *(ignored - {"*"})])
    if LABEL not in named.values():
        named |= _label(dataset, set(named) | ignored)
    open_columns = [
        f for f in dataset.schema.fields if f.name not in named and f.name not in ignored
    ]
    rest_ignored = "*" in ignored
    facts = {} if rest_ignored else _facts(dataset, open_columns)
    outcomes = [name for name, role in named.items() if role == LABEL] + list(OUTCOMES)
    has_time = TIME in named.values()
    roles = []
    for field in dataset.schema.fields:
        if field.name in named:
            found = ColumnRole(field.name, named[field.name], _named_reason(field.name, named))
        elif rest_ignored or field.name in ignored:
            found = ColumnRole(field.name, LEFT_OUT, "ignored, as asked")
        else:
            role, reason = _role(field, facts[field.name], outcomes, has_time)
            found = ColumnRole(field.name, role, reason)
            has_time = has_time or role == TIME
        roles.append(found)
    return roles


def _named_reason(name: str, named: dict[str, str]) -> str:
    return "named" if named[name] != LABEL else "the outcome to predict"


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
    """Present and (approximately) distinct values of each column that can be compared."""
    flat = [f for f in fields if _is_flat(f.dataType)]
    aggregates = [F.count(F.lit(1)).alias("rows")]
    for index, field in enumerate(flat):
        aggregates += [
            F.count(column(field.name)).alias(f"present_{index}"),
            F.approx_count_distinct(column(field.name)).alias(f"distinct_{index}"),
        ]
    found = dataset.agg(*aggregates).collect()[0].asDict()
    if not found["rows"]:
        raise ValueError("the dataset has no rows to infer the columns' roles from")
    facts: dict[str, dict[str, int]] = {f.name: {} for f in fields}
    for index, field in enumerate(flat):
        facts[field.name] = {
            "present": found[f"present_{index}"],
            "distinct": found[f"distinct_{index}"],
        }
    return facts


def _is_flat(kind: Any) -> bool:
    return isinstance(
        kind, (*CATEGORICAL_TYPES, T.NumericType, T.TimestampType, T.TimestampNTZType)
    )


def _role(
    field: T.StructField, facts: dict[str, int], outcomes: list[str], has_time: bool
) -> tuple[str, str]:
    name, kind = field.name, field.dataType
    if not facts:
        return LEFT_OUT, f"type {kind.simpleString()} is not supported"
    distinct, present = facts["distinct"], facts["present"]
    if present == 0:
        return LEFT_OUT, "null in every row"
    if isinstance(kind, T.TimestampType | T.TimestampNTZType | T.DateType):
        if has_time:
            return LEFT_OUT, "a second time column"
        return TIME, f"a {kind.simpleString()}: gives hour and weekday"
    if distinct == 1:
        return LEFT_OUT, "one value only"
    if name.lower() in outcomes:
        return LEFT_OUT, "an outcome itself, not known before the label"
    after = next((o for o in outcomes if name.lower().startswith(f"{o.lower()}_")), None)
    if after is not None and not _is_identifier(name):
        return LEFT_OUT, f"named after the outcome {after!r}, so perhaps known only afterwards"
    if isinstance(kind, T.FractionalType):
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
    if identifier:
        return CATEGORICAL, f"an identifier by its name, {values}"
    if distinct <= FEW_VALUES:
        return CATEGORICAL, f"whole numbers, only {values}"
    return NUMERIC, f"whole numbers, {values}"


def _is_identifier(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return any(word in _IDENTIFIERS for word in re.split(r"[^a-z]+", words))

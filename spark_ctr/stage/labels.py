"""Label columns as 0 and 1: which value is a click, found out, checked and said."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import NUMERIC_TYPES, column, field, field_of

logger = logging.getLogger("spark_ctr")

LABEL_TYPES = (*NUMERIC_TYPES, T.StringType)
# Pairs of texts that mean no and yes, however they are capitalised.
_NO_YES = {"0": "1", "no": "yes", "n": "y", "false": "true", "f": "t", "-1": "1", "0.0": "1.0"}
# Values beyond these are counted together; an error shows fewer.
_LISTED, _SHOWN = 20, 5


@dataclass(frozen=True)
class LabelValues:
    """The different values of a label column, as texts, and their rows.

    Attributes
    ----------
    counts : dict of str to int
        The most frequent ones first; null and empty texts are not values.
    more : bool
        Whether there are values beyond those listed.
    """

    counts: dict[str, int]
    more: bool = False

    @property
    def positive(self) -> str | None:
        """The value that plainly means yes, or its opposite no; None where that is not plain."""
        by_text = {text.lower(): text for text in self.counts}
        for no, yes in _NO_YES.items():
            if self.counts and len(by_text) == len(self.counts) and set(by_text) <= {no, yes}:
                return by_text.get(yes, yes)
        return None

    def __str__(self) -> str:
        shown = list(self.counts.items())[:_SHOWN]
        parts = ", ".join(f"{text!r} ({rows:,} rows)" for text, rows in shown)
        return f"{parts} and others" if self.more or len(shown) < len(self.counts) else parts


def label_values(dataset: DataFrame, name: str) -> LabelValues:
    """Count the values of a label column, in one job."""
    found = (
        dataset.select(_text(dataset, name).alias("value"))
        .where("value IS NOT NULL")
        .groupBy("value")
        .count()
        .orderBy(F.col("count").desc(), "value")
        .limit(_LISTED + 1)
        .collect()
    )
    counts = {row["value"]: row["count"] for row in found[:_LISTED]}
    return LabelValues(counts, len(found) > _LISTED)


def with_click_label(dataset: DataFrame, name: str, positive: str | None, role: str) -> DataFrame:
    """Return the dataset with its label column as `click_label` gives it."""
    label = click_label(dataset, name, positive, role)
    plain = positive is None and not isinstance(field_of(dataset, name).dataType, T.StringType)
    return dataset if plain else dataset.withColumn(name, label)


def click_label(dataset: DataFrame, name: str, positive: str | None, role: str) -> Column:
    """Return a label column as doubles 0 and 1; what is neither is null, or as it is if a number.

    Numbers and booleans without `positive` take no Spark job. Texts, and any column with
    `positive`, are counted first: they must have two values at most.

    Parameters
    ----------
    dataset : DataFrame
    name : str
    positive : str or None
        Value that is a click, of the Param ``positiveLabel``.
    role : str
        Stage, for messages.

    Raises
    ------
    ValueError
        For a text column whose values do not say which is a click, for a `positive` that does not
        occur, or for a third value; names the values, their rows and the setting.
    TypeError
        For a column of another type.
    """
    kind = field(dataset, name, "labelCol", LABEL_TYPES).dataType
    if positive is None and not isinstance(kind, T.StringType):
        return column(name).cast("double")
    values = label_values(dataset, name)
    where = f"{role}: label column {name!r}"
    if not values.counts:
        raise ValueError(f"{where} has no values: all rows are null")
    if positive is None:
        positive = values.positive
        if positive is None:
            raise ValueError(
                f"{where} has the values {values}: say which one is a click, "
                f"{_setting(list(values.counts)[-1])} for example"
            )
        logger.warning(
            "%s: %r counts as 1, the other value as 0: %s (set positiveLabel to choose)",
            where,
            positive,
            values,
        )
    else:
        positive = _same_value(positive, kind, name)
    if len(values.counts) > 2 or (len(values.counts) == 2 and positive not in values.counts):
        raise ValueError(
            f"{where} must have two values, positiveLabel={positive!r} and another one, but has "
            f"{values}: filter the rows of other values out, or set positiveLabel to one of two"
        )
    text = _text(dataset, name)
    return F.when(text.isNotNull(), (text == F.lit(positive)).cast("double"))


def unusual_labels(dataset: DataFrame, name: str, positive: str | None) -> str | None:
    """Say what to set where the values of a numeric label column are two, but not 0 and 1.

    Returns
    -------
    str or None
        A sentence for the end of an error, from one job; None where the column holds a 0 and a 1,
        or its values tell nothing.
    """
    if positive is not None:
        return None
    values = label_values(dataset, name)
    if len(values.counts) != 2 or set(values.counts) in ({"0", "1"}, {"false", "true"}):
        return None
    likely = values.positive or max(values.counts, key=float)
    return (
        f"label column {name!r} has the values {values}: "
        f"say which one is a click, {_setting(likely)} for example, and the other one is 0"
    )


def _setting(text: str) -> str:
    return f"positiveLabel={text!r}"


def label_text(value: object) -> str:
    """Return a value as a label column's values are compared: 1, 1.0 and True like "1", "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"positiveLabel must be finite: {value!r}")
        return str(int(value)) if value == int(value) else repr(float(value))
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise TypeError(f"positiveLabel must be a text, a number or a boolean: {value!r}")


def _same_value(positive: str, kind: T.DataType, name: str) -> str:
    """Return `positive` as `_text` writes the values of a column of this type."""
    if isinstance(kind, T.StringType):
        return positive
    if isinstance(kind, T.BooleanType):
        found = {"true": "true", "1": "true", "false": "false", "0": "false"}.get(positive.lower())
    else:
        try:
            found = label_text(float(positive))
        except ValueError:
            found = None
    if found is None:
        raise ValueError(
            f"positiveLabel={positive!r} cannot be a value of label column {name!r}, which is "
            f"{kind.simpleString()}"
        )
    return found


def _text(dataset: DataFrame, name: str) -> Column:
    """Return the values as `label_text` writes them; null for null, NaN and empty texts."""
    kind, value = field_of(dataset, name).dataType, column(name)
    if isinstance(kind, T.StringType):
        trimmed = F.trim(value)
        return F.when(trimmed != "", trimmed)
    if isinstance(kind, T.BooleanType):
        return value.cast("string")
    if isinstance(kind, T.IntegralType):
        return value.cast("long").cast("string")
    number = value.cast("double")
    whole = (number == F.floor(number)) & (F.abs(number) < 1e15)
    return F.when(
        ~F.isnan(number),
        F.when(whole, number.cast("long").cast("string")).otherwise(number.cast("string")),
    )

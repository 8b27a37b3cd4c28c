"""The text that stands for a categorical value: the same under any setting of the session."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import column, field_of, quoted

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?")
_BIGINT_END = 2.0**63
_FLOATING = (T.DoubleType, T.FloatType)
_MAX_FRACTIONS = 0.01


def is_array(dataset: DataFrame, name: str) -> bool:
    """Whether a column holds several values a row."""
    return isinstance(field_of(dataset, name).dataType, T.ArrayType)


def is_floating(dataset: DataFrame, name: str) -> bool:
    """Whether a column holds floating-point numbers, one a row."""
    return isinstance(field_of(dataset, name).dataType, _FLOATING)


def texts_of(dataset: DataFrame, name: str) -> Column:
    """Return the text, or the array of texts, that stands for a column's values.

    Floating-point numbers, which is what pandas makes of integers with nulls, have the text of the
    integer: 3.0 is "3" as 3 is. NaN has none, and neither has what is no integer of 64 bits.
    """
    kind = field_of(dataset, name).dataType
    array = isinstance(kind, T.ArrayType)
    if isinstance(kind, _FLOATING):
        number = column(name).cast(T.DoubleType())
        return F.when(_is_whole(number), number.cast(T.LongType()).cast(T.StringType()))
    element = kind.elementType if isinstance(kind, T.ArrayType) else kind
    if isinstance(element, T.DecimalType):
        # cast writes 1E-8 or 0.00000001, as ANSI mode has it; try_cast always the latter
        return F.expr(f"try_cast({quoted(name)} AS {'ARRAY<STRING>' if array else 'STRING'})")
    return column(name).cast(T.ArrayType(T.StringType()) if array else T.StringType())


def whole_texts(words: Sequence[str]) -> list[str]:
    """Return the texts that `texts_of` gives the numbers among some words: "-1" for "-1.0"."""
    numbers = [float(word) for word in words if _NUMBER.fullmatch(word.strip())]
    return [str(int(number)) for number in numbers if number.is_integer()]


def no_integer(name: str) -> Column:
    """Whether a floating-point number is neither an integer of 64 bits nor NaN; null for null."""
    number = column(name).cast(T.DoubleType())
    return ~_is_whole(number) & ~F.isnan(number)


def check_whole(dataset: DataFrame, names: Sequence[str], role: str) -> None:
    """Refuse measurements as categorical columns; costs a pass if a column is floating-point.

    Raises
    ------
    ValueError
        If more than one in a hundred of a floating-point column's numbers is no integer.
    """
    floating = [name for name in names if is_floating(dataset, name)]
    if not floating:
        return
    counts = dataset.agg(
        *[
            one.alias(f"{key}{index}")
            for index, name in enumerate(floating)
            for key, one in (
                ("present", F.count(F.when(~F.isnan(column(name)), True))),
                ("broken", F.count(F.when(no_integer(name), True))),
            )
        ]
    ).collect()[0]
    for index, name in enumerate(floating):
        present, broken = counts[f"present{index}"], counts[f"broken{index}"]
        if broken > _MAX_FRACTIONS * present:
            kind = field_of(dataset, name).dataType.simpleString()
            raise ValueError(
                f"column {name!r} ({role}) is {kind}, and "
                f"{broken:,} of its {present:,} numbers are no integers, so they are no ids or "
                "codes: name it as a numeric column, or cast it to string"
            )


def _is_whole(number: Column) -> Column:
    inside = (number >= -_BIGINT_END) & (number < _BIGINT_END)
    return inside & (F.rint(number) == number)

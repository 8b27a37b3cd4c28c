"""Params of ClickLogCleaner, and the expressions that they make without statistics."""

from __future__ import annotations

import math
from functools import reduce

from pyspark.ml.param import TypeConverters
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import (
    is_array,
    is_floating,
    no_integer,
    texts_of,
    whole_texts,
)
from spark_ctr.feature.clean_text import clean_texts
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import (
    NUMERIC_TYPES,
    TIMESTAMP_TYPES,
    categorical_field,
    check_distinct,
    check_new,
    column,
    field,
    field_of,
)
from spark_ctr.stage.params import HasInvalid
from spark_ctr.stage.times import local_seconds

_TRANSFORMS = ("none", "standardize", "log", "quantile", "standardize+quantile", "log+quantile")
_MISSING = ["", "?", "null", "NULL", "None", "nan", "NaN", "N/A", "\\N"]


class CleanerParams(HasInvalid):
    """Params that the cleaner and its model share."""

    categoricalCols = param(
        "categoricalCols",
        "categorical columns: string, integral, boolean, date, decimal, or arrays of these; or "
        "floating-point of whole numbers only, as pandas makes of integers with nulls",
        TypeConverters.toListString,
        [],
    )
    numericCols = param(
        "numericCols",
        "numeric columns (any numeric type, boolean)",
        TypeConverters.toListString,
        [],
    )
    timestampCol = param(
        "timestampCol",
        "timestamp, date or ISO string column from which hour and weekday are taken; a string "
        "must name the date, and may name an offset or a zone",
        TypeConverters.toString,
    )
    timeZone = param(
        "timeZone",
        "time zone of hour and weekday, and of texts that name none, whatever the session's is",
        TypeConverters.toString,
        "UTC",
    )
    numericTransform = param(
        "numericTransform",
        "'standardize' (mean 0, variance 1), 'log' (sign(x) log(1+|x|), then standardised), "
        "'quantile' (bucket number as a categorical column), a sum of both, or 'none'",
        one_of("numericTransform", *_TRANSFORMS),
        "log+quantile",
    )
    numBuckets = param(
        "numBuckets",
        "quantile buckets per numeric column",
        number("numBuckets", int, at_least=2, at_most=4096),
        64,
    )
    lowercase = param("lowercase", "lower-case categorical values", TypeConverters.toBoolean, False)
    missingValues = param(
        "missingValues",
        "categorical values that mean missing; trimmed, folded and lower-cased as the data is",
        TypeConverters.toListString,
        _MISSING,
    )
    outputSuffix = param(
        "outputSuffix",
        "suffix of cleaned columns; bucket, hour and weekday columns get it after their own",
        TypeConverters.toString,
        "_clean",
    )
    handleInvalid = param(
        "handleInvalid",
        "rows with a NaN or infinite number, a broken number in a categorical column, or a "
        "timestamp string that cannot be read: 'error' fails, 'skip' drops and counts them, 'keep' "
        "treats the value as missing",
        one_of("handleInvalid", "error", "skip", "keep"),
        "keep",
    )

    def _check(self, dataset: DataFrame) -> None:
        categorical, numeric = self.getCategoricalCols(), self.getNumericCols()
        timestamp = self._value("timestampCol")
        if not categorical and not numeric and timestamp is None:
            raise ValueError("ClickLogCleaner has no input: set categoricalCols or numericCols")
        check_distinct(dataset, categorical + numeric, "categoricalCols and numericCols")
        for name in categorical:
            categorical_field(dataset, name, "categoricalCols")
        for name in numeric:
            field(dataset, name, "numericCols", NUMERIC_TYPES)
        if timestamp is not None:
            field(dataset, timestamp, "timestampCol", TIMESTAMP_TYPES)
        check_new(dataset, self._outputs(), "outputSuffix")

    def _outputs(self) -> list[str]:
        suffix, how = self.getOutputSuffix(), self.getNumericTransform()
        names = [name + suffix for name in self.getCategoricalCols()]
        if how != "quantile":
            names += [name + suffix for name in self.getNumericCols()]
        if "quantile" in how:
            names += [f"{name}_bucket{suffix}" for name in self.getNumericCols()]
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            names += [f"{timestamp}_hour{suffix}", f"{timestamp}_weekday{suffix}"]
        return names

    def _categorical(self, dataset: DataFrame, name: str) -> Column:
        """Return the clean text, or of an array the clean texts of the elements that have one."""
        words = self.getMissingValues()
        if is_floating(dataset, name):
            words = words + whole_texts(words)
        texts = texts_of(dataset, name)
        return clean_texts(dataset, texts, is_array(dataset, name), words, self.getLowercase())

    def _finite(self, name: str) -> Column:
        """Return the number, null where it is null, NaN or infinite."""
        number = column(name)
        return F.when(F.abs(number.cast(T.DoubleType())) < math.inf, number)  # NaN is above it

    def _scaled(self, dataset: DataFrame, name: str) -> tuple[Column, T.DataType]:
        """Return the finite number, or its logarithm, and the type."""
        number = self._finite(name)
        if self.getNumericTransform().startswith("log"):
            number = number.cast(T.DoubleType())
            return F.signum(number) * F.log1p(F.abs(number)), T.DoubleType()
        kind = field_of(dataset, name).dataType
        return (
            (number, kind)
            if isinstance(kind, T.LongType)
            else (number.cast(T.DoubleType()), T.DoubleType())
        )

    def _invalid(self, dataset: DataFrame) -> Column:
        parts = [F.lit(False)]
        parts += [not_finite(column(name)) for name in self.getNumericCols()]
        parts += [
            no_integer(name) for name in self.getCategoricalCols() if is_floating(dataset, name)
        ]
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            parts.append(column(timestamp).isNotNull() & self._seconds(dataset).isNull())
        return reduce(Column.__or__, [F.coalesce(part, F.lit(False)) for part in parts])

    def _seconds(self, dataset: DataFrame) -> Column:
        """Seconds since 1970 on the wall clock of ``timeZone``."""
        name = self.getTimestampCol()
        return local_seconds(field_of(dataset, name).dataType, name, self.getTimeZone())

    def _parts(self, dataset: DataFrame) -> dict[str, Column]:
        """Return the cleaned categorical expressions that need no statistics, by output name."""
        suffix = self.getOutputSuffix()
        made = {
            name + suffix: self._categorical(dataset, name) for name in self.getCategoricalCols()
        }
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            seconds, text = self._seconds(dataset), T.StringType()
            hour = F.floor(F.pmod(seconds, F.lit(86400)) / 3600)
            # 1970-01-01 was a Thursday; Monday is 0.
            weekday = F.pmod(F.floor(seconds / 86400) + 3, F.lit(7))
            made[f"{timestamp}_hour{suffix}"] = hour.cast(text)
            made[f"{timestamp}_weekday{suffix}"] = weekday.cast(text)
        return made


def not_finite(number: Column) -> Column:
    """Whether a number is NaN or infinite; null for null."""
    return ~(F.abs(number.cast(T.DoubleType())) < math.inf)

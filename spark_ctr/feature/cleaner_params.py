"""Params of ClickLogCleaner, and the expressions that they make without statistics."""

from __future__ import annotations

import math
from functools import reduce

from pyspark.ml.param import TypeConverters
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import (
    CATEGORICAL_TYPES,
    NUMERIC_TYPES,
    TIMESTAMP_TYPES,
    check_distinct,
    check_new,
    column,
    compiled_apart,
    field,
    field_of,
    quoted,
)
from spark_ctr.stage.params import HasInvalid

_TRANSFORMS = ("none", "standardize", "log", "quantile", "standardize+quantile", "log+quantile")
_MISSING = ["", "?", "null", "NULL", "None", "nan", "NaN", "N/A", "\\N"]
_SPACE = r"[\s\p{Z}\p{Cc}]+"


class CleanerParams(HasInvalid):
    """Params that the cleaner and its model share."""

    categoricalCols = param(
        "categoricalCols",
        "categorical columns (string, integral, boolean, date, decimal)",
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
        "timestamp, date or ISO string column from which hour and weekday are taken",
        TypeConverters.toString,
    )
    timeZone = param(
        "timeZone",
        "time zone of hour and weekday, whatever the session's zone is",
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
        "categorical values, after trimming, that mean missing",
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
        "rows with a NaN or infinite number or a timestamp string that cannot be read: 'error' "
        "fails, 'skip' drops and counts them, 'keep' treats the value as missing",
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
            field(dataset, name, "categoricalCols", CATEGORICAL_TYPES)
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

    def _normalised(self, name: str) -> Column:
        """Trimmed text with inner white space folded and case folded if asked for."""
        text = F.trim(F.regexp_replace(column(name).cast("string"), _SPACE, " "))
        return F.lower(text) if self.getLowercase() else text

    def _categorical(self, name: str) -> Column:
        text = self._normalised(name)
        missing = compiled_apart(F.lit(None).cast("string"))
        return F.when(~text.isin(self.getMissingValues()), text).otherwise(missing)

    def _finite(self, name: str) -> Column:
        """Return the number as double, null where it is null, NaN or infinite."""
        number = column(name).cast("double")
        return F.when(F.abs(number) < math.inf, number)  # NaN is above infinity in Spark

    def _scaled(self, name: str) -> Column:
        number = self._finite(name)
        if self.getNumericTransform().startswith("log"):
            return F.signum(number) * F.log1p(F.abs(number))
        return number

    def _invalid(self, dataset: DataFrame) -> Column:
        parts = [F.lit(False)]
        parts += [not_finite(column(name).cast("double")) for name in self.getNumericCols()]
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            parts.append(
                column(timestamp).isNotNull()
                & self._local_seconds(field_of(dataset, timestamp).dataType).isNull()
            )
        return reduce(Column.__or__, [F.coalesce(part, F.lit(False)) for part in parts])

    def _local_seconds(self, kind: T.DataType) -> Column:
        """Seconds since 1970 on the wall clock of ``timeZone``."""
        name = self.getTimestampCol()
        zone = self.getTimeZone()
        if isinstance(kind, T.DateType | T.TimestampNTZType):
            # A wall-clock value: measure it against the wall-clock epoch, in no time zone.
            return F.expr(
                f"timestampdiff(SECOND, TIMESTAMP_NTZ'1970-01-01 00:00:00', "
                f"CAST({quoted(name)} AS TIMESTAMP_NTZ))"
            )
        stamp = F.expr(f"try_cast({quoted(name)} AS TIMESTAMP)")
        offset = F.unix_timestamp(F.from_utc_timestamp(stamp, zone)) - F.unix_timestamp(stamp)
        return F.floor(stamp.cast("double")) + offset

    def _parts(self, dataset: DataFrame) -> dict[str, Column]:
        """Return the cleaned categorical expressions that need no statistics, by output name."""
        suffix = self.getOutputSuffix()
        made = {name + suffix: self._categorical(name) for name in self.getCategoricalCols()}
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            seconds = self._local_seconds(field_of(dataset, timestamp).dataType)
            made[f"{timestamp}_hour{suffix}"] = (
                F.floor(F.pmod(seconds, F.lit(86400)) / 3600).cast("int").cast("string")
            )
            # 1970-01-01 was a Thursday; Monday is 0.
            made[f"{timestamp}_weekday{suffix}"] = (
                F.pmod(F.floor(seconds / 86400) + 3, F.lit(7)).cast("int").cast("string")
            )
        return made


def not_finite(number: Column) -> Column:
    """Whether a number is NaN or infinite; null for null."""
    return ~(F.abs(number) < math.inf)

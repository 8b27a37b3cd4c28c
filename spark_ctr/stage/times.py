"""Times of any type, texts included, read alike whatever the session's time zone and ANSI mode."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import TIMESTAMP_TYPES, column, field, field_of, quoted

TIME_TYPES = (T.NumericType, *TIMESTAMP_TYPES)
_MICROS = 1_000_000
_DAY = 86_400 * _MICROS
_MAX_DAYS = 2**63 // _DAY  # Spark has dates beyond its last timestamp
# A whole date, perhaps a time of day; what follows is a zone or an offset. Possessive, or part of
# the time would pass for the zone.
_TIME = r"[T ]\d{1,2}+(?::\d{1,2}+){0,2}+(?:\.\d*+)?+"
_FORM = rf"^\s*+[+-]?+\d{{4,6}}+-\d{{1,2}}+-\d{{1,2}}+(?:{_TIME})?+\s*+"


def read_time(dataset: DataFrame, name: str, time_zone: str = "UTC") -> Column:
    """Return the moments in a column as timestamps; null where there is none to read.

    Texts are ISO 8601 as Spark reads it, and name the year, the month and the day: of a time
    without a date nobody knows the moment. An offset, ``Z`` or a zone in the text is honoured.
    Nothing depends on the session's time zone, its ANSI mode, or today's date.

    Parameters
    ----------
    dataset : DataFrame
    name : str
        Timestamp, timestamp without zone, date or string column.
    time_zone : str
        Zone of what is written without one, dates included. A wall-clock time that a switch to
        summer time skips counts as an hour later, as ``java.time`` has it.

    Raises
    ------
    ValueError, TypeError
        If the column is missing, or of another type.
    """
    kind = field(dataset, name, "time", TIMESTAMP_TYPES).dataType
    if isinstance(kind, T.TimestampType):
        return column(name)
    if isinstance(kind, T.DateType):
        days = _days(column(name))
        micros = F.when(F.abs(days) < _MAX_DAYS, days * F.lit(_DAY))
    else:
        micros = wall_clock_micros(_written(kind, name))
    local = F.to_utc_timestamp(F.timestamp_micros(micros), time_zone)
    if not isinstance(kind, T.StringType):
        return local
    return F.when(_has_zone(name), _zoned(name)).otherwise(F.when(_has_date(name), local))


def local_seconds(kind: T.DataType, name: str, time_zone: str) -> Column:
    """Return the seconds since 1970 on the wall clock of a zone; null where there is no time.

    What is written without a zone counts as written, whether a switch to summer time skips it or
    not.

    Parameters
    ----------
    kind : DataType
        Timestamp, timestamp without zone, date or string.
    name : str
        Column of this type.
    time_zone : str
    """
    if isinstance(kind, T.TimestampType):
        return _on_wall_clock(column(name), time_zone)
    if isinstance(kind, T.DateType):
        return _days(column(name)) * F.lit(_DAY // _MICROS)
    written = F.floor(wall_clock_micros(_written(kind, name)) / _MICROS)
    if not isinstance(kind, T.StringType):
        return written
    zoned = _on_wall_clock(_zoned(name), time_zone)
    return F.when(_has_zone(name), zoned).otherwise(F.when(_has_date(name), written))


def wall_clock_micros(time: Column) -> Column:
    """Return the microseconds from 1970 to a timestamp without zone, on its own wall clock.

    Not by ``timestampdiff``, which goes through the session's time zone and its summer time.
    """
    minutes = (_days(time.cast(T.DateType())) * 24 + F.hour(time)) * 60 + F.minute(time)
    seconds = F.extract(F.lit("SECOND"), time)  # a decimal, with the fraction
    return minutes * F.lit(60 * _MICROS) + (seconds * _MICROS).cast(T.LongType())


def names_hour(name: str) -> Column:
    """Whether a text that is a time names the hour, too."""
    return column(name).contains(":")


def _written(kind: T.DataType, name: str) -> Column:
    """Return a value that names no zone as a timestamp without one."""
    if isinstance(kind, T.StringType):
        return F.expr(f"try_cast({quoted(name)} AS TIMESTAMP_NTZ)")
    return column(name)


def _days(date: Column) -> Column:
    return F.unix_date(date).cast(T.LongType())


def _zoned(name: str) -> Column:
    # TIMESTAMP alone is what spark.sql.timestampType says.
    return F.expr(f"try_cast({quoted(name)} AS TIMESTAMP_LTZ)")


def _has_date(name: str) -> Column:
    return column(name).rlike(_FORM)


def _has_zone(name: str) -> Column:
    return column(name).rlike(_FORM + r"\S")


def _on_wall_clock(moment: Column, time_zone: str) -> Column:
    offset = F.unix_micros(F.from_utc_timestamp(moment, time_zone)) - F.unix_micros(moment)
    return F.floor((F.unix_micros(moment) + offset) / _MICROS)


def time_of(dataset: DataFrame, name: str) -> Column:
    """Return a column's time as a number that sorts alike; null where it is null or not finite.

    Timestamps and texts, as `read_time` has them, become microseconds, dates days, decimals
    doubles.
    """
    kind, value = field_of(dataset, name).dataType, column(name)
    if isinstance(kind, T.DateType):
        return F.unix_date(value)
    if isinstance(kind, (T.TimestampType, T.StringType)):
        return F.unix_micros(read_time(dataset, name))
    if isinstance(kind, T.TimestampNTZType):
        return wall_clock_micros(value)
    if isinstance(kind, T.IntegralType):
        return value.cast("long")
    number = value.cast("double")
    return F.when(F.abs(number) < float("inf"), number)

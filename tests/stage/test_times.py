"""Times are read alike under any session zone, ANSI mode and timestamp type."""

from __future__ import annotations

import datetime
from contextlib import contextmanager

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.times import local_seconds, read_time

# text, the moment if it is written on UTC's wall clock, and if it is on New York's
TEXTS = [
    ("2024-07-01 12:00:00", "2024-07-01T12:00:00", "2024-07-01T16:00:00"),
    # New York's clocks skip this half hour: java.time makes it an hour later.
    ("2024-03-10 02:30:00", "2024-03-10T02:30:00", "2024-03-10T07:30:00"),
    ("2024-03-10T02:30:00Z", "2024-03-10T02:30:00", "2024-03-10T02:30:00"),
    ("2024-07-01", "2024-07-01T00:00:00", "2024-07-01T04:00:00"),
    (" 2024-7-1 1:2:3 ", "2024-07-01T01:02:03", "2024-07-01T05:02:03"),
    ("2024-07-01 12:00:00 UTC", "2024-07-01T12:00:00", "2024-07-01T12:00:00"),
    ("2024-07-01 12:00:00 America/New_York", "2024-07-01T16:00:00", "2024-07-01T16:00:00"),
    ("2024-07-01 12:00:00.25+05:30", "2024-07-01T06:30:00.25", "2024-07-01T06:30:00.25"),
    ("1969-12-31 23:59:59.5", "1969-12-31T23:59:59.5", "1970-01-01T04:59:59.5"),
    *[(text, None, None) for text in ("12:30:00", "T07:15", "2024", "2024-07", "123456", "today")],
    *[(text, None, None) for text in ("soon", "", "2024-13-01", "300000-01-01", "1732600000")],
    (None, None, None),
]
SETTINGS = [
    {"spark.sql.session.timeZone": zone, "spark.sql.ansi.enabled": ansi} | more
    for zone, ansi, more in (
        ("UTC", "true", {}),
        ("America/New_York", "false", {"spark.sql.timestampType": "TIMESTAMP_NTZ"}),
        ("Asia/Tokyo", "true", {"spark.sql.timestampType": "TIMESTAMP_NTZ"}),
    )
]


@contextmanager
def session_settings(spark, settings):
    before = {name: spark.conf.get(name, None) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


def micros(moment: str | None) -> int | None:
    if moment is None:
        return None
    seconds = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC).timestamp()
    return round(seconds * 1_000_000)


@pytest.mark.parametrize("settings", SETTINGS)
def test_texts_are_read_alike_under_any_setting(spark, settings):
    with session_settings(spark, settings):
        data = spark.createDataFrame([(t,) for t, _, _ in TEXTS], T.StructType().add("t", "string"))
        zones = "UTC", "America/New_York"
        rows = data.select(
            *[F.unix_micros(read_time(data, "t", zone)) for zone in zones],
            *[local_seconds(T.StringType(), "t", zone) for zone in zones],
        ).collect()
    for (text, utc, new_york), row in zip(TEXTS, rows, strict=True):
        assert tuple(row)[:2] == (micros(utc), micros(new_york)), text
    hours = {text: (row[2], row[3]) for (text, _, _), row in zip(TEXTS, rows, strict=True)}
    # What is written without a zone keeps its hour, the one that the clocks skip, too.
    assert {
        t: h and h % 86400 / 3600 for t, (_, h) in hours.items() if t and t.startswith("2024-03-10")
    } == {
        "2024-03-10 02:30:00": 2.5,
        "2024-03-10T02:30:00Z": 21.5,
    }
    assert (hours["12:30:00"], hours["1969-12-31 23:59:59.5"]) == ((None, None), (-1, -1))


@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_typed_times_are_read_alike_under_any_setting(spark, settings):
    with session_settings(spark, settings):
        data = spark.sql(
            "SELECT TIMESTAMP_NTZ'2024-03-10 02:30:00.25' AS n, DATE'2024-03-10' AS d, "
            "TIMESTAMP_LTZ'2024-03-10 02:30:00Z' AS l, "
            "date_add(DATE'2024-03-10', 2000000000) AS far"
        )
        (row,) = data.select(
            *[F.unix_micros(read_time(data, name)) for name in ("n", "d", "l", "far")],
            *[
                local_seconds(data.schema[name].dataType, name, "America/New_York")
                for name in ("n", "d", "l", "far")
            ],
        ).collect()
    day = micros("2024-03-10T00:00:00")
    # A date beyond the last timestamp is no error; its weekday is known.
    assert tuple(row)[:4] == (day + 9_000_250_000, day, day + 9_000_000_000, None)
    seconds = day // 1_000_000
    assert tuple(row)[4:7] == (seconds + 9000, seconds, seconds + 9000 - 5 * 3600)
    assert row[7] == seconds + 2_000_000_000 * 86400


def test_other_types_are_refused(spark):
    with pytest.raises(TypeError, match=r"'id' \(time\) has type bigint"):
        read_time(spark.range(1), "id")

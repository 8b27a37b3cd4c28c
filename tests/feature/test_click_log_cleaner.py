"""Values that ClickLogCleaner makes, against hand-computed and numpy results."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spark_ctr.feature import ClickLogCleaner

NUMBERS = [0.0, 0.0, 0.0, 0.0, 1.0, 2.5, -3.0, 10.0, 100.0, None]


@pytest.fixture(scope="module")
def log(spark):
    texts = ["a", " a ", "a\t\u00a0 b", "A", "", "  ", "?", "N/A", None, "nan"]
    times = [
        "2024-02-29T23:30:00Z",
        "2024-03-01T00:30:00+01:00",
        "2024-03-10 07:05:00",
        "soon",
        None,
        "1969-12-31T23:59:59Z",
        "2024-12-30",
        "2024-12-31T12:00:00Z",
        "2025-01-01T12:00:00Z",
        "2025-01-01T12:00:00.999Z",
    ]
    rows = list(zip(range(10), texts, NUMBERS, times, strict=True))
    return spark.createDataFrame(rows, "row int, site string, price double, at string")


def column(frame, name):
    return [row[name] for row in frame.orderBy("row").collect()]


def test_text_is_trimmed_folded_and_placeholders_are_missing(log):
    model = ClickLogCleaner(categoricalCols=["site"]).fit(log)
    out = model.transform(log)
    assert column(out, "site_clean") == ["a", "a", "a b", "A", *[None] * 6]
    assert column(out, "site") == column(log, "site")
    (report,) = model.report.collect()
    assert (report.rows, report.missing, report.changed) == (10, 6, 7)
    folded = ClickLogCleaner(categoricalCols=["site"], lowercase=True, missingValues=["a"])
    assert column(folded.fit(log).transform(log), "site_clean")[:6] == [
        None,
        None,
        "a b",
        None,
        "",
        "",
    ]


def test_log_and_standardise_agree_with_numpy(log):
    cleaner = ClickLogCleaner(numericCols=["price"], numericTransform="log")
    found = column(cleaner.fit(log).transform(log), "price_clean")
    known = np.array(NUMBERS[:-1])
    scaled = np.sign(known) * np.log1p(np.abs(known))
    expected = (scaled - scaled.mean()) / scaled.std(ddof=1)
    assert found[:-1] == pytest.approx(list(expected), rel=1e-8)
    assert found[-1] == 0.0  # a missing number takes the mean


def test_outliers_are_clipped_at_ten_deviations(spark):
    train = spark.createDataFrame([(0, -1.0), (1, 1.0)], "row int, price double")
    model = ClickLogCleaner(numericCols=["price"], numericTransform="standardize").fit(train)
    out = model.transform(spark.createDataFrame([(0, 1e300)], "row int, price double"))
    assert column(out, "price_clean") == [10.0]


def test_buckets_hold_even_shares_and_a_heavy_value_has_its_own(log):
    cleaner = ClickLogCleaner(numericCols=["price"], numericTransform="quantile", numBuckets=5)
    found = column(cleaner.fit(log).transform(log), "price_bucket_clean")
    assert found[-1] is None
    zeros = {found[i] for i in range(4)}
    assert len(zeros) == 1
    assert zeros.isdisjoint(found[4:9])
    order = [found[i] for i in (6, 0, 4, 5, 7, 8)]  # by rising price
    assert order == sorted(order, key=int)


def test_hour_and_weekday_in_any_zone(log, spark):
    model = ClickLogCleaner(timestampCol="at", timeZone="UTC").fit(log)
    out = model.transform(log)
    hours, days = column(out, "at_hour_clean"), column(out, "at_weekday_clean")
    # Thursday 29 February, 23:30; the next is the same moment, written in another zone.
    assert (hours[0], days[0]) == (hours[1], days[1]) == ("23", "3")
    assert (hours[3], hours[4]) == (None, None)
    assert (hours[5], days[5]) == ("23", "2")  # a Wednesday before 1970
    assert hours[8] == hours[9] == "12"
    tokyo = ClickLogCleaner(timestampCol="at", timeZone="Asia/Tokyo").fit(log).transform(log)
    assert column(tokyo, "at_hour_clean")[0] == "8"
    assert column(tokyo, "at_weekday_clean")[0] == "4"
    counts = {row.column: row for row in model.report.collect()}["at"]
    assert (counts.missing, counts.invalid) == (1, 1)


def test_no_finite_number_is_lost_in_the_count(spark):
    values = [1.0, None, float("nan"), float("inf"), -float("inf")]
    data = spark.createDataFrame([(i, v) for i, v in enumerate(values)], "row int, price double")
    model = ClickLogCleaner(numericCols=["price"], numericTransform="none").fit(data)
    (report,) = model.report.collect()
    assert (report.missing, report.invalid, report.changed) == (1, 3, 4)
    assert all(math.isfinite(v) for v in column(model.transform(data), "price_clean"))

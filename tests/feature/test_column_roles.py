"""Roles of columns in unknown logs: the rules, one by one, and three real or generated logs."""

from __future__ import annotations

import datetime

import pytest
from pyspark.sql import functions as F

from spark_ctr.datasets import adult, click_log, open_bandit
from spark_ctr.feature import infer_roles


def roles_of(log, **more) -> dict[str, str]:
    return {found.column: found.role for found in infer_roles(log, **more)}


def test_names_are_found_as_the_session_finds_them(spark):
    log = spark.createDataFrame([("a", 1, 0), ("b", 2, 1)] * 9, "Site string, n int, Click int")
    words = {"named": {"click": "label", "SITE": "categorical"}, "ignore": ["N"]}
    assert roles_of(log, **words) == {"Site": "categorical", "n": "left out", "Click": "label"}
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(ValueError, match="no column 'N', 'SITE', 'click'"):
            roles_of(log, **words)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


@pytest.fixture(scope="module")
def log(spark):
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    rows = [
        (
            i % 2,
            f"request {i}",
            i,
            f"site {i % 7}",
            i % 70,
            i % 70,
            i % 5,
            i / 3,
            i % 3 == 0,
            start + datetime.timedelta(hours=i),
            start,
            i % 2,
            0.5,
            "one",
            None,
            [0.5],
            [f"tag {i % 5}", f"tag {i % 3}"],
            None if i % 9 == 0 else float(i % 70),
            float("nan") if i % 9 == 0 else float(i % 4),
            None if i % 9 == 0 else float(i % 70),
        )
        for i in range(400)
    ]
    schema = (
        "click int, token string, request_id int, site string, adId int, age int, weekday int, "
        "price double, mobile boolean, at timestamp, also timestamp, conversion int, "
        "click_probability double, constant string, nothing double, vector array<double>, "
        "tags array<string>, userId double, level double, age2 double"
    )
    return spark.createDataFrame(rows, schema).withColumn("click_probability", F.rand(1))


def test_each_rule(log):
    assert roles_of(log) == {
        "click": "label",
        "token": "left out",  # a different text in every row
        "request_id": "left out",  # a different identifier in every row
        "site": "categorical",
        "adId": "categorical",  # whole numbers, by its name
        "age": "numeric",  # the same values as adId
        "weekday": "categorical",  # few values
        "price": "numeric",
        "mobile": "categorical",
        "at": "time",
        "also": "left out",
        "conversion": "left out",  # another outcome
        "click_probability": "left out",  # named after the outcome
        "constant": "left out",
        "nothing": "left out",
        "vector": "left out",
        "tags": "categorical",
        "userId": "categorical",  # integers beside nulls, by its name
        "level": "categorical",  # few values
        "age2": "numeric",
    }


def test_every_column_gets_a_reason_in_order(log):
    found = infer_roles(log)
    assert [role.column for role in found] == log.columns
    assert all(len(role.reason) > 3 for role in found)
    reasons = {role.column: role.reason for role in found}
    assert "array<double>" in reasons["vector"]
    assert "several texts a row, about 5 different" in reasons["tags"]
    assert "whole numbers in a double" in reasons["userId"]


def test_named_roles_stay(log):
    found = roles_of(log, named={"conversion": "label", "age": "categorical", "also": "time"})
    assert found["conversion"] == "label"
    assert found["click"] == "left out"
    assert found["age"] == "categorical"
    assert (found["also"], found["at"]) == ("time", "left out")


def test_ignore(log):
    assert roles_of(log, ignore=["site"])["site"] == "left out"
    found = roles_of(log, named={"site": "categorical"}, ignore=["*"])
    assert {name for name, role in found.items() if role != "left out"} == {"site", "click"}


@pytest.fixture(scope="module")
def texts(spark):
    rows = [
        (
            i % 2,
            f"{1950 + i}-01-02",
            "soon"
            if i == 7
            else None
            if i == 8
            else f"2024-01-{1 + i % 28:02d} {i % 24:02d}:00:00",
            f"{i % 24}:30:00",
            str(1000 + i),
            [f"request {i}"],
        )
        for i in range(60)
    ]
    schema = "click int, born string, at string, hour string, zip string, request array<string>"
    return spark.createDataFrame(rows, schema)


def test_texts_that_read_as_times(texts):
    found = {role.column: role for role in infer_roles(texts)}
    assert found["at"].role == "time"  # it names the hour, so it goes before a date
    assert found["at"].reason.endswith("; 2 of 60 rows have no readable time")
    assert (found["born"].role, found["born"].reason) == ("left out", "a second time column")
    assert found["hour"].role == "categorical"  # no date
    assert found["zip"].role == found["request"].role == "left out"  # differ in every row
    named = {role.column: role for role in infer_roles(texts, {"at": "time"}, ["*"])}
    assert named["at"].reason == "named; 2 of 60 rows have no readable time"
    assert infer_roles(texts.select("click", "born"))[1].role == "time"


def test_errors_say_what_is_there(log):
    with pytest.raises(ValueError, match="no column 'sight'; its columns are click, token"):
        infer_roles(log, {"sight": "categorical"})
    with pytest.raises(ValueError, match="looks like the label .*columns are site, age"):
        infer_roles(log.select("site", "age"))
    with pytest.raises(ValueError, match="no rows"):
        infer_roles(log.limit(0))


def test_bundled_and_generated_logs(spark):
    found = roles_of(adult(spark))
    assert found["income"] == "label"
    assert "left out" not in found.values()
    assert [n for n, role in found.items() if role == "numeric"] == [
        "age",
        "fnlwgt",
        "capital_gain",
        "capital_loss",
        "hours_per_week",
    ]
    found = roles_of(open_bandit(spark))
    assert (found["click"], found["timestamp"], found["item_id"]) == (
        "label",
        "time",
        "categorical",
    )
    generated = click_log(spark, 2000)
    found = roles_of(generated)
    for truth in ("conversion", "click_probability", "conversion_probability", "request_id"):
        assert found[truth] == "left out"
    assert found["slot"] == "categorical"

"""Names of columns: several of one name, and upper and lower case as the session has it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.stage.columns import (
    categorical_field,
    check_distinct,
    check_new,
    column,
    field,
    field_of,
    metadata_of,
    set_metadata,
)

ANY = (object,)


@contextmanager
def case_sensitive(spark):
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        yield
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


@pytest.fixture(scope="module")
def log(spark):
    """300 rows of one column each of text, number and label."""
    n = F.col("id")
    return spark.range(300).select(
        "id",
        F.concat(F.lit("s"), n % 7).alias("site"),
        (n % 11).cast("double").alias("price"),
        (n % 13 % 2).cast("double").alias("label"),
    )


@pytest.fixture(scope="module")
def joined(spark, log):
    """Two columns named id, and two that differ in case only; no stage reads them."""
    other = spark.range(300).select("id", F.lit("x").alias("tag"), F.lit("y").alias("Tag"))
    return log.join(other, log["id"] == other["id"])


def test_unused_columns_of_one_name_pass_every_stage(joined):
    stages = [
        ClickLogCleaner(categoricalCols=["site"], numericCols=["price"], handleInvalid="skip"),
        PowerLawFeatureSelector(sampleRows=0, pValuePrecision=0.0, alternatives=[], maxPValue=1.0),
        HashedEmbeddingEncoder(handleInvalid="skip"),
        classifier(network="lr", maxIter=1, handleInvalid="skip"),
    ]
    data = joined
    for stage in stages:
        before = data.columns
        data = stage.fit(data).transform(data)
        assert data.columns[: len(before)] == before
    assert data.columns[:7] == ["id", "site", "price", "label", "id", "tag", "Tag"]
    assert data.columns[-3:] == ["rawPrediction", "probability", "prediction"]
    assert data.select("site", "probability").count() == 300


def test_columns_of_the_joined_frames_are_still_told_apart(log, spark):
    other = spark.range(300).select((299 - F.col("id")).alias("id"), F.lit(1).alias("tag"))
    joined = log.join(other, log["id"] == 299 - other["id"])
    model = HashedEmbeddingEncoder(inputCols=["site"]).fit(log)
    out = model.transform(joined).drop(log["id"])
    assert out.columns == ["site", "price", "label", "id", "tag", *out.columns[-2:]]


def test_a_used_column_that_is_ambiguous_is_refused_with_its_param(joined, spark):
    twice = joined.join(spark.range(9).select(F.col("id").cast("string").alias("site")))
    for stage in (
        ClickLogCleaner(categoricalCols=["site"]),
        PowerLawFeatureSelector(inputCols=["site"]),
        HashedEmbeddingEncoder(inputCols=["site"]),
    ):
        with pytest.raises(ValueError, match=r"'site' \(.*Cols\) is ambiguous: 2 columns"):
            stage.fit(twice)
    with pytest.raises(ValueError, match=r"'tag'.* ambiguous.*'tag', 'Tag'"):
        field(joined, "tag", "inputCols", ANY)
    with case_sensitive(spark):
        assert field(joined, "Tag", "inputCols", ANY).name == "Tag"


def test_a_missing_column_is_missing_in_a_sentence(log):
    with pytest.raises(ValueError, match=r"'zzz' \(inputCols\) is not in the dataset\. Its col"):
        field_of(log, "zzz", "inputCols")


def test_names_are_found_as_the_session_finds_them(log, spark):
    assert categorical_field(log, "SITE", "inputCols").name == "site"
    with case_sensitive(spark), pytest.raises(ValueError, match="did you mean 'site'"):
        categorical_field(log, "Site", "inputCols")


def test_outputs_are_compared_as_the_session_compares_them(log, spark):
    with pytest.raises(ValueError, match="'Label' .out.* already exists in the dataset as 'label'"):
        check_new(log, ["Label"], "out")
    with pytest.raises(ValueError, match="out gives 'a' and 'A', which are one column"):
        check_new(log, ["a", "A"], "out")
    with pytest.raises(ValueError, match="ins names 'a' twice; 'b' and 'B', which are one"):
        check_distinct(log, ["a", "b", "a", "B"], "ins")
    with case_sensitive(spark):
        check_new(log, ["Label", "a", "A"], "out")
        check_distinct(log, ["a", "A"], "ins")
        with pytest.raises(ValueError, match="twice"):
            check_distinct(log, ["a", "a"], "ins")


@pytest.mark.parametrize(
    "stage",
    [
        ClickLogCleaner(numericCols=["price"], categoricalCols=["Price_bucket"]),
        ClickLogCleaner(categoricalCols=["site", "Site"]),
        HashedEmbeddingEncoder(inputCols=["site", "SITE"]),
        HashedEmbeddingEncoder(inputCols=["site"], numericCols=["price", "Price"]),
        HashedEmbeddingEncoder(
            inputCols=["site"], categoricalFeaturesCol="f", numericFeaturesCol="F"
        ),
        HashedEmbeddingEncoder(inputCols=["site"], categoricalFeaturesCol="LABEL"),
        PowerLawFeatureSelector(inputCols=["Site", "site"]),
    ],
    ids=lambda stage: type(stage).__name__,
)
def test_names_that_differ_in_case_only_are_refused_by_fit(stage, log):
    data = log.withColumn("Price_bucket", F.lit("a"))
    with pytest.raises(ValueError, match="one column while|already exists"):
        stage.fit(data)


def test_predictions_that_differ_in_case_only_are_refused_before_training(log):
    encoded = HashedEmbeddingEncoder(inputCols=["site"]).fit(log).transform(log)
    for params in (
        {"rawPredictionCol": "score", "probabilityCol": "Score"},
        {"predictionCol": "ID"},
    ):
        with pytest.raises(ValueError, match="one column while|already exists"):
            classifier(**params).fit(encoded)


def test_with_case_sensitive_names_a_log_has_two_of_them(log, spark):
    with case_sensitive(spark):
        data = log.withColumn("Site", F.upper("site"))
        names = ["site", "Site"]
        cleaned = ClickLogCleaner(categoricalCols=names).fit(data).transform(data)
        planned = PowerLawFeatureSelector(
            sampleRows=0, pValuePrecision=0.0, alternatives=[], maxPValue=1.0
        )
        marked = planned.fit(cleaned).transform(cleaned)
        assert marked.columns == cleaned.columns
        model = HashedEmbeddingEncoder().fit(marked)
        assert [table["name"] for table in model.tables] == ["site_clean", "Site_clean"]
        assert model.transform(marked).count() == 300


def test_an_encoder_goes_on_from_a_column_in_another_spelling(log):
    first = HashedEmbeddingEncoder(inputCols=["site"], numericCols=["price"]).fit(log)
    again = HashedEmbeddingEncoder(
        inputCols=["SITE"], numericCols=["PRICE"], initialModel=first
    ).fit(log)
    assert again.tables[0]["earlier"] == first.tables[0]["vocabulary"]
    assert again.transform(log).count() == 300


@pytest.mark.parametrize("name", ["site", "a.b", "with `tick"])
def test_metadata_is_set_beside_columns_of_one_name(joined, log, name):
    for data in (joined, log):
        data = data.withColumnRenamed("site", name)
        out = set_metadata(data, {name: {"spark_ctr": '{"kind": "x"}'}, "label": {"a": 1}})
        assert out.columns == data.columns
        assert metadata_of(out.schema[name]) == {"kind": "x"}
        assert out.schema["label"].metadata == {"a": 1}
        assert out.select(column(name)).distinct().count() == 7

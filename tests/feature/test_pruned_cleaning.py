"""Only columns that are read are cleaned: Spark prunes the others from the projection."""

import re

import pandas as pd
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder
from spark_ctr.jvm import has_jvm_functions

CLEANING = r"ctr_clean\(|regexp_replace\("


@pytest.fixture(scope="module")
def log(spark, tmp_path_factory):
    """A log in Parquet, so that the plan says what is read."""
    folder = f"file://{tmp_path_factory.mktemp('pruned')}/log"
    spark.range(40).selectExpr(
        "concat('s', id % 7) AS site",
        "concat(' u', id) AS user",
        "array(concat('t', id % 3)) AS tags",
        "id / 3 AS price",
        "double(id) AS age",
        "timestamp_seconds(id * 5000) AS at",
    ).write.parquet(folder)
    return spark.read.parquet(folder)


def _number_of_ids(ids: pd.Series) -> pd.Series:
    return ids.map(len)


def optimised(dataset, capsys):
    """What is read, and how often a text is cleaned, as ``explain`` says."""
    dataset.explain()
    plan = capsys.readouterr().out
    (schema,) = re.findall(r"ReadSchema: struct<(.*)>", plan)
    read = {field.split(":")[0] for field in re.split(r",(?![^<]*>)", schema)}
    columns = set(re.findall(rf"(?:{CLEANING})(?:cast\()?(\w+)#", plan))
    return read, columns


@pytest.mark.parametrize("policy", ["keep", "skip", "error"])
def test_what_nobody_reads_is_not_cleaned(log, capsys, policy):
    cleaner = ClickLogCleaner(
        categoricalCols=["site", "user", "tags"],
        numericCols=["price", "age"],
        timestampCol="at",
        handleInvalid=policy,
    )
    cleaned = cleaner.fit(log).transform(log)
    read, columns = optimised(cleaned.select("site_clean"), capsys)
    # Which rows are invalid depends on the numbers; of a timestamp none is.
    assert read == ({"site"} if policy == "keep" else {"site", "price", "age", "at"})
    assert columns == {"site"}
    read, columns = optimised(cleaned.select("price_bucket_clean", "user"), capsys)
    assert read - {"age", "at"} == {"user", "price"}
    assert columns == set()


def test_a_pipeline_cleans_what_its_later_stages_read(log, capsys):
    cleaner = ClickLogCleaner(
        categoricalCols=["site", "user", "tags"], numericCols=["price", "age"], timestampCol="at"
    ).fit(log)
    encoder = HashedEmbeddingEncoder(
        inputCols=["user_clean", "at_hour_clean"], numericCols=["age_clean"], minCount=1
    ).fit(cleaner.transform(log))
    encoded = PipelineModel([cleaner, encoder]).transform(log)
    score = F.pandas_udf(_number_of_ids, "long")(encoder.getCategoricalFeaturesCol())
    for one in (encoded.select(score), encoded.withColumn("score", score).select("score", "site")):
        read, columns = optimised(one, capsys)
        # The encoder looks for invalid numbers.
        assert read - {"site"} == {"user", "at", "age"}
        assert columns == {"user"}
    read, columns = optimised(encoded.select(encoder.getNumericFeaturesCol()), capsys)
    assert (read, columns) == ({"age"}, set())


def test_the_plan_says_who_cleans(log, capsys, spark):
    cleaned = ClickLogCleaner(categoricalCols=["site"]).fit(log).transform(log)
    cleaned.select("site_clean").explain()
    plan = capsys.readouterr().out
    assert ("ctr_clean(site#" in plan) == has_jvm_functions(spark)
    assert ("regexp_replace(" in plan) != has_jvm_functions(spark)

"""Which rows are trained on, and in which order, is for the rows of the log alone to say."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.rows.training_data import training_data
from spark_ctr.stage.columns import with_metadata
from spark_ctr.stage.raw_rows import raw_columns, raw_hash
from spark_ctr.training.feeds import open_feed

SETTINGS = {
    "spark.sql.requireAllClusterKeysForDistribution": "true",
    "spark.sql.shuffle.partitions": "5",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.files.maxRecordsPerFile": "7",
    "spark.sql.parquet.compression.codec": "lz4",
    "spark.sql.optimizer.plannedWrite.enabled": "false",
    "spark.sql.maxConcurrentOutputFileWriters": "4",
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.caseSensitive": "true",
}


@pytest.fixture(scope="module")
def log(spark):
    """Rows of a log, every fourth one twice, with columns of types that are hard to hash."""
    rows = spark.range(240).select(F.expr("id - int(id % 4 = 1)").alias("id"))
    return rows.select(
        "*",
        F.expr("id % 3 = 0").cast("double").alias("label"),
        F.create_map(F.lit("a"), F.col("id"), F.lit("b"), F.lit(1)).alias("m"),
        F.array(F.struct(F.create_map(F.col("id"), F.lit(1.5)).alias("x y"))).alias("nested"),
        F.timestamp_seconds("id").alias("time"),
        F.expr("id % 11 / 10").alias("weight"),
    )


def encoded(log, factor=1):
    """Features of the log; another factor is another encoding."""
    tables = [{"name": "site", "rows": 64, "dim": 4}]
    return log.select(
        "*",
        with_metadata(
            F.array((F.col("id") * factor % 13).cast("int")),
            "categoricalFeatures",
            {"tables": tables},
        ),
        with_metadata(
            F.array((F.col("id") / 7).cast("float")), "numericFeatures", {"names": ["age"]}
        ),
    )


def classifier(**params):
    return CTRClassifier(
        network="lr", validationFraction=0.3, device="cpu", verbose=False, **params
    )


def parts(data, stage, feed="auto"):
    """The training and the validation rows, arrays [N, 2] of a number and the label."""
    with training_data(data, stage.training_columns()) as found:
        rows = []
        for path in (found.train_path, found.valid_path):
            opened = open_feed(
                path, 1, 1, kind=feed, batch_size=1000, shuffle=False, seed=0,
                weight_scale=found.weight_scale,
            )  # fmt: skip
            (batch,) = opened.batches(0)
            rows.append(np.stack([batch.numeric[:, 0], batch.label[:, 0], batch.weight], 1))
    return rows


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_setting_of_the_session_changes_the_rows_or_their_order(log, spark):
    data, stage = encoded(log), classifier(negativeSamplingRate=0.5)
    expected = parts(data, stage)
    assert min(map(len, expected)) > 20
    before = {name: spark.conf.get(name, None) for name in SETTINGS}
    try:
        for name, value in SETTINGS.items():
            spark.conf.set(name, value)
        assert same(parts(data, stage), expected)
        assert same(parts(data.repartition(3), stage, "pyarrow"), expected)
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


def test_two_encodings_of_one_log_have_the_same_rows_in_the_same_order(log):
    stage = classifier()
    one, other = parts(encoded(log), stage), parts(encoded(log, factor=5), stage)
    assert same(one, other)
    texts = log.withColumn("label", F.when(F.col("label") == 1, "yes").otherwise("no"))
    assert same(parts(encoded(texts), stage), one)
    assert not same(parts(encoded(log), stage.copy().setSeed(7)), one)


def test_names_and_order_of_columns_change_nothing(log):
    renamed = log.select(*[F.col(name).alias(f"{name}.2") for name in reversed(log.columns)])
    hashes = [
        [row[0] for row in rows.select(raw_hash(rows, rows.columns, 1)).collect()]
        for rows in (log, renamed)
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == log.select("id").distinct().count()


def test_without_columns_of_the_log_the_features_decide(log):
    bare = encoded(log).select("label", "categoricalFeatures", "numericFeatures")
    assert raw_columns(bare, ["categoricalFeatures", "numericFeatures", "label"]) == []
    one, other = parts(bare, classifier()), parts(bare.repartition(3), classifier())
    assert same(one, other) and 40 < len(one[1]) < 110


def test_raw_columns_are_those_that_no_stage_made(log):
    made = encoded(log).select(
        "*",
        with_metadata(F.lit("x"), "site_clean", {"kind": "categorical", "derived": True}),
        with_metadata(F.lit("x"), "site", {"kind": "categorical", "plan": {}}),
        F.lit(0.5).alias("CrossValidator_0a1b2c_rand"),
        F.lit(1).alias("TWICE"),
        F.lit(2).alias("twice"),
    )
    expected = ["id", "label", "m", "nested", "site", "time", "weight"]
    assert sorted(raw_columns(made, [])) == expected


def test_a_map_counts_by_its_entries_in_any_order(spark):
    maps = spark.sql("SELECT map('a', 1, 'b', 2) m UNION ALL SELECT map('b', 2, 'a', 1)")
    hashes = [row[0] for row in maps.select(raw_hash(maps, ["m"], 0)).collect()]
    assert hashes[0] == hashes[1]
    other = spark.sql("SELECT map('a', 2, 'b', 1) m")
    assert other.select(raw_hash(other, ["m"], 0)).collect()[0][0] != hashes[0]


@pytest.mark.parametrize(
    "weight, message",
    [
        ("0", "weightCol 'weight' is 0 in all .* training rows with label 0"),
        ("label", "weightCol 'weight' is 0 in all .* training rows with label 0"),
        ("1 - label", "weightCol 'weight' is 0 in all .* training rows with label 1"),
        ("1e38D", "weightCol 'weight'.* float32 cannot hold .*divide"),
        ("if(id = 7, 1e39D, 1)", "beyond float32: 1; .*weightCol 'weight'"),
        ("1e-50D", "beyond float32: 240; .*weightCol 'weight'"),
    ],
)
def test_weights_that_carry_nothing_are_refused_with_the_reason(log, weight, message):
    data = encoded(log.withColumn("weight", F.expr(weight)))
    with pytest.raises(ValueError, match=message):
        parts(data, classifier(weightCol="weight"))


def test_validation_rows_without_weight_are_refused(log):
    data = encoded(
        log.withColumn("held", F.expr("id < 50")).withColumn("weight", F.expr("id >= 50"))
    )
    data = data.withColumn("weight", F.col("weight").cast("int"))
    stage = classifier(weightCol="weight", validationIndicatorCol="held")
    with pytest.raises(ValueError, match="is 0 in all .* validation rows"):
        parts(data, stage)


@pytest.mark.parametrize("weight", ["1e-30D", "3e30D"])
def test_equal_weights_train_as_1_does(log, weight):
    weighted = encoded(log.drop("weight").withColumn("w", F.expr(weight)))
    bare = [rows[:, 2] for rows in parts(weighted, classifier(weightCol="w"))]
    assert all((rows == 1).all() for rows in bare)
    assert min(map(len, bare)) > 20

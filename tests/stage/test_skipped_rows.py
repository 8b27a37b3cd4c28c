"""skippedRows: an answer after any action or none, and a reason where there is none."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder
from spark_ctr.networks import Inputs, Table
from spark_ctr.rows.feature_columns import elements, invalid_features
from spark_ctr.rows.scored_batches import frame_features
from spark_ctr.stage.invalid_rows import InvalidRows


def log_of(spark, rows, every):
    """Rows of which each `every`-th has a number that is nan."""
    bad = F.when(F.col("id") % every == 0, float("nan")).otherwise(1.0)
    return spark.range(rows).select(
        "id", (F.col("id") % 7).cast("string").alias("a"), bad.alias("x")
    )


@pytest.fixture(scope="module")
def log(spark):
    return log_of(spark, 100, 10)


@pytest.fixture(scope="module")
def model(log):
    return HashedEmbeddingEncoder(inputCols=["a"], numericCols=["x"], handleInvalid="skip").fit(log)


def joined_with_itself(out):
    same = F.col("l.id") == F.col("r.id")
    assert out.alias("l").join(out.alias("r"), same).count() == 90


def both_halves(out):
    assert out.where("id < 50").unionByName(out.where("id >= 50")).count() == 90


def failed(out):
    with pytest.raises(Exception, match="boom"):
        out.select(F.raise_error(F.lit("boom")).cast("int")).collect()


@pytest.mark.parametrize(
    "action",
    [
        lambda out: out.count(),
        lambda out: (out.count(), out.collect()),
        lambda out: out.cache().count(),
        lambda out: out.limit(0).collect(),
        lambda out: out.limit(3).collect(),
        lambda out: out.where(F.lit(False)).count(),
        lambda out: out.select(F.lit(1)).where("1 = 0").collect(),
        joined_with_itself,
        both_halves,
        failed,
        lambda out: None,
    ],
    ids=[
        "counted",
        "twice",
        "cached",
        "none",
        "few",
        "pruned",
        "constant",
        "joined",
        "halves",
        "failed",
        "unused",
    ],
)
def test_skipped_rows_after(action, model, log):
    action(model.transform(log))
    assert model.skippedRows == 10
    assert model.skippedRows == 10


def test_two_datasets_of_one_model_in_one_query(model, log, spark):
    out = model.transform(log).union(model.transform(log_of(spark, 20, 5)))
    assert out.count() == 90 + 16
    assert model.skippedRows == 4  # of the dataset transformed last


def test_other_policies_drop_nothing(model, log, spark):
    other = model.copy()
    other.transform(log)
    for policy in ("keep", "error"):
        other.setHandleInvalid(policy).transform(log)
        assert other.skippedRows == 0


def test_nothing_was_transformed(log):
    fresh = HashedEmbeddingEncoder(inputCols=["a"]).fit(log)
    with pytest.raises(ValueError, match="call transform"):
        _ = fresh.skippedRows


def test_copies_by_pickle_and_deepcopy_start_without_a_count(model, log, spark):
    rows = InvalidRows("Stage")
    rows.apply(log, F.isnan("x"), "skip", "", "uid")
    for other in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows)):
        with pytest.raises(ValueError, match="Stage dropped nothing yet"):
            other.count()
        other.apply(log_of(spark, 12, 4), F.isnan("x"), "skip", "", "uid")
        assert other.count() == 3
    assert rows.count() == 10


def test_threads_are_told_of_their_own_dataset(model, spark):
    def transformed(rows):
        out = model.transform(log_of(spark, rows, 10))
        return out.count(), model.skippedRows

    sizes = [20, 30, 40, 50, 60, 70]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(transformed, sizes))
    assert found == [(rows - rows // 10, rows // 10) for rows in sizes]


def test_a_dataset_that_is_gone_is_said_to_be(model, log, tmp_path):
    folder = tmp_path / "log"
    log.write.parquet(str(folder))
    out = model.transform(log.sparkSession.read.parquet(str(folder)))
    for file in folder.glob("*.parquet"):
        file.unlink()
    with pytest.raises(ValueError, match="cannot be read any more"):
        _ = model.skippedRows
    assert out.columns[-1] == "numericFeatures"


def test_a_stream_is_referred_to_its_progress(model, log, tmp_path):
    log.write.parquet(f"{tmp_path}/in")
    stream = log.sparkSession.readStream.schema(log.schema).parquet(f"{tmp_path}/in")
    model.transform(stream)
    with pytest.raises(ValueError, match="stream.*observedMetrics"):
        _ = model.skippedRows


def test_cleaner_and_classifier_count_too(log, small_clicks):
    cleaner = ClickLogCleaner(numericCols=["x"], handleInvalid="skip").fit(log)
    cleaner.transform(log).limit(0).collect()
    assert cleaner.skippedRows == 10
    model = classifier(network="lr", maxIter=1).fit(small_clicks).setHandleInvalid("skip")
    kept = small_clicks.schema["numericFeatures"].metadata
    spoiled = F.when(F.col("label") == 1, F.array(F.lit(1e300))).otherwise(F.array(F.lit(1.0)))
    data = small_clicks.withColumn("numericFeatures", spoiled).withMetadata("numericFeatures", kept)
    clicks = data.where("label = 1").count()
    assert len(model.transform(data).collect()) == 600 - clicks
    assert model.skippedRows == clicks
    model.setHandleInvalid("keep").transform(data)
    assert model.skippedRows == 0


@pytest.mark.parametrize("tables", [True, False])
def test_rows_are_invalid_alike_for_training_and_scoring(spark, tables):
    known = (Table("site", 6, 4), Table("ad", 5, 2)) if tables else ()
    inputs = Inputs(known, ("age",))
    ids = [[1, 2], [6, 0], [0, -1], [1], [1, 2, 3], [1, None], [], None]
    numbers = [[0.5], [1e300], [float("nan")], [None], [], [1.0, 2.0], None]
    rows = [(i, [0.5]) for i in ids] + [([1, 2] if tables else [], n) for n in numbers]
    data = spark.createDataFrame(rows, "a array<int>, b array<double>")
    lengths = [F.size("a").alias("l0"), F.size("b").alias("l1")]
    bad = invalid_features(inputs, "a", "b").alias("bad")
    frame = data.select(bad, *elements(inputs, "a", "b"), *lengths).toPandas()
    _, _, scored_bad = frame_features(frame.iloc[:, 1:], inputs)
    np.testing.assert_array_equal(frame["bad"].to_numpy(dtype=bool), scored_bad)
    assert 0 < scored_bad.sum() < len(rows)

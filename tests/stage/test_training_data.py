"""Validation rows by time, sampled negatives, and the digest of the training files."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.stage.columns import column, with_metadata
from spark_ctr.stage.training_data import training_data
from spark_ctr.stage.validation_time import exact_cut, latest_rows
from spark_ctr.training.feeds import open_feed

ROWS = 4000
WIDTH = 3
START = datetime.datetime(2024, 3, 10, tzinfo=datetime.UTC)  # a day of 23 hours in New York


@pytest.fixture(scope="module")
def log(spark, tmp_path_factory):
    """Rows of few distinct features, so that most have copies; clicks of 5% to 20%."""
    draw = np.random.default_rng(0)
    site = draw.integers(1, 4, ROWS)
    click = draw.random(ROWS) < np.array([0, 0.05, 0.1, 0.2])[site]
    rows = [
        (i, [int(s)], [], float(c), 1.0 + i % 2, START + datetime.timedelta(minutes=i // 2), i / 7)
        for i, (s, c) in enumerate(zip(site, click, strict=True))
    ]
    data = spark.createDataFrame(
        rows,
        "row int, a array<int>, b array<float>, label double, weight double, time timestamp, "
        "day double",
    )
    folder = f"{tmp_path_factory.mktemp('log')}/rows"
    data.write.parquet(folder)
    tables = [{"name": "site", "rows": 4, "dim": 4}]
    return spark.read.parquet(folder).select(
        "row",
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": []}),
        "label",
        "weight",
        "time",
        "day",
    )


def classifier(**settings):
    return CTRClassifier(
        **{"network": "lr", "maxIter": 1, "device": "cpu", "verbose": False, **settings}
    )


def parts(data, stage):
    """What training_data says, and the training and validation rows as arrays [N, 3]."""
    with training_data(data, stage.training_columns()) as found:
        rows = []
        for path, count in ((found.train_path, found.train_rows), (found.valid_path, 0)):
            feed = open_feed(path, 1, 0, batch_size=10_000, shuffle=False, seed=0)
            (batch,) = feed.batches(0)
            rows.append(np.stack([batch.ids[:, 0], batch.label, batch.weight], 1))
            assert not count or len(rows[-1]) == count
    return found, *rows


def spread(data):
    """The same rows, otherwise partitioned."""
    return data.filter("row < 9").coalesce(1).unionByName(data.filter("row >= 9").repartition(5))


@pytest.mark.parametrize(
    ("time", "held_out"),
    [
        ("time", 400),
        ("cast(time as timestamp_ntz)", 400),
        ("day", 400),
        ("cast(day * 7 as int)", 400),
        ("cast(day as decimal(20, 10))", 400),
        # The last day holds 160 rows, the two last ones 3,040.
        ("to_date(from_utc_timestamp(time, 'UTC') - interval 4 hours)", 160),
    ],
)
def test_the_latest_rows_are_held_out(log, time, held_out):
    data = log.select("row", F.expr(time).alias("a.`time"))
    late = latest_rows(data, "a.`time", 0.1)
    marked = data.select("row", column("a.`time"), late.alias("late")).collect()
    chosen = [r["row"] for r in marked if r["late"]]
    assert sorted(chosen) == list(range(ROWS - held_out, ROWS))


def test_rows_of_one_time_stay_together_and_rows_without_one_are_early(spark):
    times = [1.0, 1.0, 2.0, 2.0, 2.0, 3.0, None, float("nan"), float("inf")]
    data = spark.createDataFrame([(t,) for t in times], "t double")

    def held_out(fraction):
        late = latest_rows(data, "t", fraction)
        return sorted(r["t"] for r in data.select("t", late.alias("late")).collect() if r["late"])

    assert held_out(0.0) == []
    assert held_out(1 / 6) == [3.0]
    assert held_out(0.01) == held_out(0.4) == [3.0]
    assert held_out(0.5) == held_out(0.8) == [2.0, 2.0, 2.0, 3.0]
    assert held_out(0.95) == [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]


def test_a_bracket_that_misses_the_cut_is_noticed(spark):
    times = spark.range(100).select(F.col("id").alias("t"))
    assert exact_cut(times, 10, 85, 95) == 90
    assert exact_cut(times, 10, 91, 95) is None
    assert exact_cut(times, 10, 80, 89) is None


def test_validation_by_time_in_training(log):
    stage = classifier(validationTimeCol="time", validationFraction=0.25, weightCol="weight")
    found, _, valid = parts(log, stage)
    late = log.filter(f"row >= {ROWS * 3 // 4}").toPandas()
    assert found.valid_rows == len(late) and found.train_rows == ROWS - len(late)
    assert valid[:, 1].sum() == late["label"].sum()
    assert valid[:, 2].sum() == late["weight"].sum()
    unknown = log.withColumn("time", F.when(F.col("row") != ROWS - 1, F.col("time")))
    with pytest.raises(ValueError, match="validation time is null or not finite: 1"):
        parts(unknown, stage)
    assert parts(unknown, stage.copy().setHandleInvalid("skip"))[0].skipped == 1
    kept, *_ = parts(unknown, stage.copy().setHandleInvalid("keep"))
    assert (kept.valid_rows, kept.rows) == (ROWS // 4 - 1, ROWS)  # the nearest whole minute


def test_two_columns_cannot_both_choose_the_validation_rows(log):
    data = log.withColumn("held_out", F.col("row") % 2 == 0)
    both = classifier(validationTimeCol="time", validationIndicatorCol="held_out")
    with pytest.raises(ValueError, match="validationIndicatorCol.*validationTimeCol.*clear one"):
        both.fit(data)
    with pytest.raises(TypeError, match="validationTimeCol"):
        classifier(validationTimeCol="held_out").fit(data)


@pytest.mark.parametrize("by", ["fraction", "indicator", "time"])
def test_sampling_takes_training_rows_with_label_0_only(log, by):
    split = {"indicator": {"validationIndicatorCol": "held_out"}, "time": {}, "fraction": {}}[by]
    if by == "time":
        split = {"validationTimeCol": "time"}
    data = log.withColumn("held_out", F.col("row") % 10 == 0)
    stage = classifier(weightCol="weight", **split)
    whole, every, held_out = parts(data, stage)
    sampled, some, same = parts(data, stage.copy().setNegativeSamplingRate(0.25))
    np.testing.assert_array_equal(same, held_out)
    np.testing.assert_array_equal(some[some[:, 1] == 1], every[every[:, 1] == 1])
    zeros = int((every[:, 1] == 0).sum())
    assert sampled.dropped_negatives == zeros - int((some[:, 1] == 0).sum())
    assert sampled.rows == whole.rows - sampled.dropped_negatives
    assert whole.dropped_negatives == 0 and whole.logit_shift == 0.0
    # Of each group of equal rows about a quarter stays: the groups hold 400 rows and more.
    kept = zeros - sampled.dropped_negatives
    assert abs(kept - zeros / 4) < 4 * np.sqrt(zeros * 3 / 16)
    for site in (1, 2, 3):
        here = [int(((rows[:, 0] == site) & (rows[:, 1] == 0)).sum()) for rows in (some, every)]
        assert abs(here[0] - here[1] / 4) < 4 * np.sqrt(here[1] * 3 / 16)


def test_copies_of_a_row_are_drawn_apart(log):
    _, train, valid = parts(log, classifier(validationFraction=0.2))
    for site in (1, 2, 3):
        for label in (0, 1):
            here = [
                int(((rows[:, 0] == site) & (rows[:, 1] == label)).sum()) for rows in (train, valid)
            ]
            assert abs(here[1] - 0.2 * sum(here)) < 4 * np.sqrt(0.16 * sum(here))


def test_the_rows_and_their_digest_do_not_depend_on_partitions(log):
    stage = classifier(weightCol="weight", validationTimeCol="time", negativeSamplingRate=0.5)
    first, *rows = parts(log, stage)
    again, *same = parts(spread(log), stage)
    assert again.digest == first.digest
    for a, b in zip(rows, same, strict=True):
        np.testing.assert_array_equal(a, b)
    stage = stage.copy().setNegativeSamplingRate(1.0)
    changed = log.withColumn("weight", F.col("weight") + F.expr("int(row = 77)"))
    digests = {parts(changed, stage)[0].digest, parts(log.filter("row <> 8"), stage)[0].digest}
    others = {parts(log, s)[0].digest for s in (stage, stage.copy().setSeed(1))}
    assert len(digests | others) == 4


def test_sampled_training_predicts_the_click_rate_of_all_rows(log):
    sampled = classifier(
        negativeSamplingRate=0.1, validationFraction=0.2, learningRate=0.05, batchSize=64, maxIter=8
    )
    model = sampled.fit(log)
    assert model.summary.dropped_negatives > 0.5 * ROWS
    rows = model.transform(log).select("label", "probability").toPandas()
    clicks, predicted = rows["label"].mean(), rows["probability"].str[1].mean()
    # The click rate is known from about 45 clicks in each hundred rows that were trained on.
    error = np.sqrt(clicks / ROWS + clicks**2 / (0.1 * ROWS))
    assert abs(predicted - clicks) < 3 * error
    odds = predicted / (1 - predicted)
    uncorrected = 10 * odds / (1 + 10 * odds)
    assert uncorrected - clicks > 10 * error
    # The figures of validation are those of unsampled rows, so of corrected probabilities.
    losses = [epoch["valid_loss"] for epoch in model.summary.history["epochs"]]
    entropy = -clicks * np.log(clicks) - (1 - clicks) * np.log(1 - clicks)
    assert abs(losses[-1] - entropy) < 0.1

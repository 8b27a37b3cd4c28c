"""Validation rows by time, sampled negatives, and the digest of the training files."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.rows.training_data import training_data
from spark_ctr.rows.validation_time import exact_cut, latest_cut, since
from spark_ctr.stage.columns import with_metadata
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
            rows.append(np.stack([batch.ids[:, 0], batch.label[:, 0], batch.weight], 1))
            assert not count or len(rows[-1]) == count
    return found, *rows


def spread(data):
    """The same rows, otherwise partitioned."""
    return data.filter("row < 9").coalesce(1).unionByName(data.filter("row >= 9").repartition(5))


def test_the_latest_rows_are_held_out(log):
    times = {
        "a.`time": "time",
        "wall clock": "cast(time as timestamp_ntz)",
        "day": "cast(day * 7 as int)",
        "decimal": "cast(day as decimal(20, 10))",
        "text": "cast(cast(time as timestamp_ntz) as string)",
        "date": "to_date(from_utc_timestamp(time, 'UTC') - interval 4 hours)",
    }
    data = log.select("row", *[F.expr(time).alias(name) for name, time in times.items()])
    late = [
        since(data, name, latest_cut(data, name, 0.1)).alias(f"late{i}")
        for i, name in enumerate(times)
    ]
    marked = data.select("row", *late).toPandas()
    # The last day holds 160 rows, the two last ones 3,040.
    for i, held_out in enumerate((400, 400, 400, 400, 400, 160)):
        assert sorted(marked["row"][marked[f"late{i}"]]) == list(range(ROWS - held_out, ROWS))


def test_rows_of_one_time_stay_together_and_rows_without_one_are_early(spark):
    times = [1.0, 1.0, 2.0, 2.0, 2.0, 3.0, None, float("nan"), float("inf")]
    data = spark.createDataFrame([(t,) for t in times], "t double")

    def held_out(fraction):
        late = since(data, "t", latest_cut(data, "t", fraction))
        return sorted(r["t"] for r in data.select("t", late.alias("late")).collect() if r["late"])

    assert held_out(0.0) == []
    assert held_out(0.01) == [3.0]
    assert held_out(0.5) == [2.0, 2.0, 2.0, 3.0]
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
    kept, *_ = parts(unknown, stage.copy().setHandleInvalid("keep"))
    assert (kept.valid_rows, kept.rows) == (ROWS // 4 - 1, ROWS)  # the nearest whole minute


def test_two_columns_cannot_both_choose_the_validation_rows(log):
    data = log.withColumn("held_out", F.col("row") % 2 == 0)
    both = classifier(validationTimeCol="time", validationIndicatorCol="held_out")
    with pytest.raises(ValueError, match="validationIndicatorCol.*validationTimeCol.*clear one"):
        both.fit(data)
    with pytest.raises(TypeError, match="validationTimeCol"):
        classifier(validationTimeCol="held_out").fit(data)


def groups(rows):
    """How many of the rows are of each site and label, [6]."""
    return np.array([((rows[:, :2] == (s, y)).all(1)).sum() for s in (1, 2, 3) for y in (0, 1)])


def test_copies_of_a_row_are_drawn_apart_and_sampling_takes_zeros_of_training_only(log):
    stage = classifier(weightCol="weight", validationFraction=0.2)
    whole, every, held_out = parts(log, stage)
    all_rows = groups(every) + groups(held_out)
    assert (abs(groups(held_out) - 0.2 * all_rows) < 4 * np.sqrt(0.16 * all_rows)).all()
    assert whole.dropped_negatives == 0 and whole.logit_shift == 0.0
    sampled, some, same = parts(log, stage.copy().setNegativeSamplingRate(0.25))
    np.testing.assert_array_equal(same, held_out)
    np.testing.assert_array_equal(some[some[:, 1] == 1], every[every[:, 1] == 1])
    assert sampled.dropped_negatives == len(every) - len(some)
    assert sampled.rows == whole.rows - sampled.dropped_negatives
    zeros, kept = groups(every)[::2], groups(some)[::2]
    assert (abs(kept - zeros / 4) < 4 * np.sqrt(zeros * 3 / 16)).all()


def test_the_rows_and_their_digest_do_not_depend_on_partitions(log):
    stage = classifier(weightCol="weight", validationTimeCol="time", negativeSamplingRate=0.5)
    first, *rows = parts(log, stage)
    again, *same = parts(spread(log), stage)
    assert again.digest == first.digest
    for a, b in zip(rows, same, strict=True):
        np.testing.assert_array_equal(a, b)
    heavier = log.withColumn("weight", F.col("weight") + F.expr("int(row = 11) * label"))
    assert log.filter("row = 11 and label = 1").count() == 1
    assert parts(heavier, stage)[0].digest != first.digest


def test_sampled_training_predicts_the_click_rate_of_all_rows(log):
    sampled = classifier(
        negativeSamplingRate=0.1,
        validationFraction=0.2,
        learningRate=0.1,
        batchSize=64,
        maxIter=4,
        monitor="log_loss",
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

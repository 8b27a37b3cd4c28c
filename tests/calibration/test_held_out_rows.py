"""What is calibrated on was not trained on: shares, times and columns, in one Pipeline."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import functions as F

from spark_ctr.calibration import ProbabilityCalibrator
from spark_ctr.classification import CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.estimator import run
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.multitask import MultiTaskClassifier
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.stage.columns import metadata_of, with_metadata

ROWS = 320
SMALL = {"maxIter": 1, "hiddenLayers": [4], "device": "cpu", "verbose": False}


@pytest.fixture(scope="module")
def log(spark):
    """Rows of a log, every fourth one three times; sales are known of clicks."""
    return spark.range(ROWS).select(
        F.expr("id - CASE id % 8 WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 0 END").alias("row"),
        F.expr("concat('s', id % 7)").alias("site"),
        F.expr("int(pmod(hash(id - id % 8), 3) = 0)").alias("click"),
        F.expr("int(pmod(hash(id - id % 8), 6) = 0)").alias("sale"),
        F.timestamp_seconds(F.expr("id - id % 8")).alias("time"),
        F.expr("1 + id % 2").alias("weight"),
        F.expr("id % 3 = 0").alias("chosen"),
    )


@pytest.fixture(scope="module")
def encoded(log):
    """Their features, of which the number names the row."""
    tables = [{"name": "site", "rows": 9, "dim": 4}]
    ids = F.array(F.expr("int(substring(site, 2) + 1)"))
    number = F.array((F.col("row") / ROWS).cast("float"))
    return log.select(
        "*",
        with_metadata(ids, "categoricalFeatures", {"tables": tables}),
        with_metadata(number, "numericFeatures", {"names": ["row"]}),
    ).cache()


@pytest.fixture()
def trained(monkeypatch):
    """Numbers of the rows that networks were trained on, one list a training."""
    found = []

    def spied(network, feed, *arguments, **named):
        batches = [batch.numeric[:, 0].numpy() for batch in feed.batches(0)]
        found.append(np.concatenate(batches))
        return train(network, feed, *arguments, **named)

    train = run.train
    monkeypatch.setattr(run, "train", spied)
    return found


def calibrator(**params):
    """A calibrator whose slots are the rows, so that its report lists what it was fitted on."""
    named = {"labelCol": "click", "slotCols": ["row"], "verbose": False}
    return ProbabilityCalibrator(**named | params)


def counts(model):
    """How many rows of each number were calibrated on."""
    return Counter({int(r.row): int(r.rows) for r in model.slots.collect()})


def of_numbers(numbers):
    return Counter(np.round(numbers * ROWS).astype(int).tolist())


CHOICES = [
    {},
    {"weightCol": "weight", "negativeSamplingRate": 0.5},
    {"validationTimeCol": "time"},
    {"validationIndicatorCol": "chosen"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=["share", "sampled", "time", "column"])
def test_each_row_is_trained_on_or_calibrated_on(encoded, trained, choice, caplog):
    classifier = CTRClassifier(labelCol="click", validationFraction=0.3, **SMALL, **choice)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        model = Pipeline(stages=[classifier, calibrator()]).fit(encoded.repartition(3))
    assert "calibrat" not in caplog.text
    whole = Counter(row["row"] for row in encoded.select("row").collect())
    held_out, learned = counts(model.stages[1]), of_numbers(trained[0])
    assert 40 < held_out.total() < 170 and learned.total() > 80
    if "negativeSamplingRate" in choice:
        assert not learned - (whole - held_out)
    else:
        assert learned + held_out == whole
    if not choice:  # copies of a row are drawn one by one
        assert set(learned) & set(held_out)


@pytest.mark.once
def test_a_pipeline_from_the_raw_log_needs_nothing_said(log, trained, tmp_path):
    stages = [
        ClickLogCleaner(categoricalCols=["site"], numericCols=["row"]),
        PowerLawFeatureSelector(labelCol="click"),
        HashedEmbeddingEncoder(),
        CTRClassifier(labelCol="click", validationFraction=0.3, **SMALL),
        calibrator(),
    ]
    unique = log.where("row % 4 > 0").dropDuplicates(["row"])
    model = Pipeline(stages=stages).fit(unique)
    held_out = counts(model.stages[-1])
    everything = model.transform(unique).select("row", "numericFeatures").collect()
    row_of = {np.float32(row[1][0]): row[0] for row in everything}
    learned = {row_of[value] for value in trained[0]}
    assert learned | {*held_out} == {*row_of.values()} and not learned & {*held_out}
    # It scores rows without label and time, whoever loads it.
    model.save(f"{tmp_path}/model")
    bare = unique.select("row", "site")
    out = PipelineModel.load(f"{tmp_path}/model").transform(bare)
    assert None not in [row[0] for row in out.select("calibratedProbability").collect()]
    assert metadata_of(out.schema["probability"])["heldOut"] == model.stages[3].summary.held_out


@pytest.mark.once
def test_students_and_8_bit_models_say_what_their_teacher_did_not_see(encoded, trained):
    one = {"labelCol": "click", "validationFraction": 0.3, **SMALL}
    distiller = LayerwiseDistiller(
        teacher=CTRClassifier(**one),
        student=CTRClassifier(**one),
        recombine=False,
        compareWithLabels=False,
    )
    quantizer = MixedPrecisionQuantizer(classifier=distiller, maxIter=1, tolerance=1.0)
    model = Pipeline(stages=[quantizer, calibrator()]).fit(encoded)
    held_out = counts(model.stages[1])
    whole = Counter(row["row"] for row in encoded.select("row").collect())
    assert len(trained) >= 2
    assert all(of_numbers(numbers) + held_out == whole for numbers in trained)


@pytest.mark.once
def test_each_of_several_tasks_is_calibrated_on_its_known_rows(encoded, trained):
    stage = MultiTaskClassifier(
        labelCols=["click", "sale"],
        tasks={"sale": {"knownWhen": "click"}},
        validationFraction=0.4,
        **SMALL,
    )
    sales = calibrator(
        probabilityCol="probability_sale", labelCol="sold", handleInvalid="skip", method="platt"
    )
    known = encoded.withColumn("sold", F.expr("IF(click = 1, sale, NULL)"))
    model = Pipeline(stages=[stage, sales]).fit(known)
    clicks = Counter(row["row"] for row in known.where("click = 1").select("row").collect())
    held_out = counts(model.stages[1])
    assert held_out and held_out == clicks - of_numbers(trained[0])


@pytest.fixture(scope="module")
def scored(encoded):
    """Scores of a model that held the latest rows out."""
    latest = {"validationTimeCol": "time", "validationFraction": 0.25}
    return CTRClassifier(labelCol="click", **latest, **SMALL).fit(encoded).transform(encoded)


def test_on_later_rows_all_are_taken(scored, encoded):
    cut = metadata_of(scored.schema["probability"])["heldOut"]
    assert (cut["by"], cut["column"], cut["type"]) == ("time", "time", "timestamp")
    late = scored.where("row >= 280")
    assert counts(calibrator().fit(late)).total() == late.count()
    early = scored.where("row < 200")
    with pytest.raises(ValueError, match="none that the model .* calibrationRows='all'"):
        calibrator().fit(early)
    assert counts(calibrator(calibrationRows="all").fit(early)).total() == early.count()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda scored: scored.drop("time"), "without the columns time as they were"),
        (lambda scored: scored.withColumn("time", F.col("row")), "without the columns time"),
        (lambda scored: scored.withColumn("probability", F.lit(0.3)), "says nothing of the rows"),
    ],
)
def test_what_cannot_be_known_is_warned_of(scored, change, why, caplog):
    dataset = change(scored)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        assert counts(calibrator().fit(dataset)).total() == ROWS
    assert why in caplog.text and "calibrationRows='all'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        calibrator(calibrationRows="all").fit(dataset)
    assert not caplog.text


def test_a_model_that_held_nothing_out_is_warned_of(encoded, caplog):
    model = CTRClassifier(labelCol="click", **SMALL | {"validationFraction": 0.0}).fit(encoded)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        calibrator().fit(model.transform(encoded))
    assert "held no rows out (validationFraction=0)" in caplog.text


def test_two_ways_to_name_the_rows_are_refused(scored):
    stage = calibrator(calibrationIndicatorCol="chosen", calibrationRows="heldOut")
    with pytest.raises(ValueError, match="'chosen'.* and calibrationRows both choose"):
        stage.fit(scored)

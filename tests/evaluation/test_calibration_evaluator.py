"""CalibrationEvaluator against numpy, hand-computed numbers and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from sklearn.calibration import calibration_curve

from spark_ctr.evaluation import CalibrationEvaluator
from spark_ctr.training.metrics import log_loss

rng = np.random.default_rng(5)
P = np.concatenate([rng.beta(1, 9, 200), [0.0, 1.0, 1.0, 0.55]])
Y = np.concatenate([rng.random(200) < P[:200], [0, 1, 0, 1]]).astype(float)


def frame(spark, labels, probabilities):
    rows = [
        (float(y), Vectors.dense([1.0 - p, float(p)]))
        for y, p in zip(labels, probabilities, strict=True)
    ]
    return spark.createDataFrame(rows, ["label", "probability"])


@pytest.fixture(scope="module")
def scored(spark):
    return frame(spark, Y, P).cache()


def test_log_loss_and_ratio_agree_with_numpy(scored):
    def metric(name):
        return CalibrationEvaluator(metricName=name).evaluate(scored)

    assert metric("logLoss") == pytest.approx(log_loss(Y, P), rel=1e-12)
    assert metric("calibrationRatio") == pytest.approx(P.sum() / Y.sum(), rel=1e-12)


def test_reliability_and_error_agree_with_scikit_learn(scored):
    evaluator = CalibrationEvaluator(numBins=10)
    rates, means = calibration_curve(Y, P, n_bins=10, strategy="uniform")
    points = evaluator.reliability(scored)
    assert [p["rate"] for p in points] == pytest.approx(list(rates))
    assert [p["mean_probability"] for p in points] == pytest.approx(list(means))
    assert sum(p["rows"] for p in points) == len(P)
    share = np.array([p["rows"] for p in points]) / len(P)
    assert evaluator.evaluate(scored) == pytest.approx(float(share @ np.abs(rates - means)))


def test_error_by_hand(spark):
    # Bin [0, .5): mean .2, rate .5 (2 rows). Bin [.5, 1]: mean .9, rate 1 (2 rows, one at 1.0).
    data = frame(spark, [0, 1, 1, 1], [0.1, 0.3, 0.8, 1.0])
    evaluator = CalibrationEvaluator(numBins=2)
    assert evaluator.evaluate(data) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)
    one_bin = {evaluator.getParam("numBins"): 1}
    assert evaluator.evaluate(data, one_bin) == pytest.approx(0.75 - 0.55)
    assert not evaluator.isLargerBetter()


def test_ratio_without_a_click_is_nan(spark):
    data = frame(spark, [0, 0], [0.1, 0.2])
    assert math.isnan(CalibrationEvaluator(metricName="calibrationRatio").evaluate(data))


def test_invalid_rows_are_refused(spark):
    bad = spark.createDataFrame(
        [
            (1.0, Vectors.dense([0.5, 0.5])),
            (2.0, Vectors.dense([0.5, 0.5])),
            (None, Vectors.dense([0.5, 0.5])),
            (1.0, Vectors.dense([0.0, float("nan")])),
            (1.0, Vectors.dense([0.0, 1.5])),
            (1.0, Vectors.dense([0.0])),
            (1.0, None),
        ],
        ["label", "probability"],
    )
    with pytest.raises(ValueError, match="6 rows have a label in 'label'"):
        CalibrationEvaluator().evaluate(bad)
    with pytest.raises(ValueError, match="no rows"):
        CalibrationEvaluator().evaluate(bad.limit(0))


def test_wrong_columns_are_named(scored):
    with pytest.raises(ValueError, match="'click' .labelCol."):
        CalibrationEvaluator(labelCol="click").evaluate(scored)
    with pytest.raises(TypeError, match="'label' .probabilityCol."):
        text = scored.withColumn("label", F.col("label").cast("string"))
        CalibrationEvaluator(probabilityCol="label").evaluate(text)
    with pytest.raises(ValueError, match="metricName must be one of"):
        CalibrationEvaluator(metricName="auc")


def test_columns_of_any_name_and_type(spark):
    data = spark.createDataFrame(
        [(True, Vectors.dense([0.7, 0.3])), (False, Vectors.sparse(2, [0], [1.0]))],
        ["was.clicked", "p `1`"],
    )
    evaluator = CalibrationEvaluator(
        labelCol="was.clicked", probabilityCol="p `1`", metricName="calibrationRatio"
    )
    assert evaluator.evaluate(data) == pytest.approx(0.3)


def test_save_and_load(spark, scored, tmp_path):
    evaluator = CalibrationEvaluator(numBins=7, metricName="expectedCalibrationError")
    evaluator.write().session(spark).save(f"{tmp_path}/evaluator")
    loaded = CalibrationEvaluator.read().session(spark).load(f"{tmp_path}/evaluator")
    assert loaded.uid == evaluator.uid
    assert loaded.getNumBins() == 7
    assert loaded.evaluate(scored) == evaluator.evaluate(scored)


@pytest.fixture(scope="module")
def golden(spark):
    """Eight rows of two slots, scores as doubles."""
    q, y = [0.1, 0.2, 0.3, 0.4, 0.05, 0.05, 0.5, 0.4], [0, 0, 1, 0, 0, 0, 1, 1]
    rows = [(p, label, i // 4, "a") for i, (p, label) in enumerate(zip(q, y, strict=True))]
    return spark.createDataFrame(rows, "probability double, label int, slot int, site string")


GOLDEN = {
    "expectedCalibrationError": 0.225,
    "calibrationRatio": 2 / 3,
    "logLoss": 0.469416,
    "normalizedEntropy": 0.709556,
    "coxIntercept": 2.1496,
    "coxSlope": 2.7678,
    "fieldECE": 0.125,
    "fieldRCE": 0.25,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_metrics_by_hand(golden, name):
    evaluator = CalibrationEvaluator(metricName=name, numBins=4, slotCols=["slot", "site"])
    assert evaluator.evaluate(golden) == pytest.approx(GOLDEN[name], abs=5e-5)


def test_slots_are_measured_as_all_rows_are(golden):
    evaluator = CalibrationEvaluator(numBins=4, slotCols=["slot", "site"])
    found = evaluator.measureSlots(golden)
    for name, value in GOLDEN.items():
        assert found["overall"][name] == pytest.approx(value, abs=5e-5)
    assert [one["slot"] for one in found["slots"]] == [["0", "a"], ["1", "a"]]
    for slot, one in enumerate(found["slots"]):
        alone = evaluator.measure(golden.filter(F.col("slot") == slot))
        for name in ("rows", "clicks", "expectedCalibrationError", "logLoss", "calibrationRatio"):
            assert one[name] == pytest.approx(alone[name]), name
        assert one["reliability"] == alone["reliability"]
    assert math.isnan(found["slots"][1]["coxSlope"])  # its clicks have the two highest scores


def test_bins_inside_slots_and_random_parts(golden):
    def metric(name, **params):
        params = {"slotCols": ["slot"], **params}
        return CalibrationEvaluator(metricName=name, **params).evaluate(golden)

    # Halves: .1 + .2, .3 + .4 - 1, .05 + .05, .5 + .4 - 2.
    assert metric("binnedFieldECE", numSlotBins=2) == pytest.approx((0.3 + 0.3 + 0.1 + 1.1) / 8)
    assert metric("binnedFieldECE", numSlotBins=1) == pytest.approx(0.125)
    assert metric("MVCE", numParts=1) == pytest.approx(abs(2.0 - 3.0) / 8)
    assert 0.1 < metric("MVCE", numParts=4) < 0.5


def test_random_parts_are_those_of_the_seed_however_rows_are_partitioned(scored):
    def metric(dataset, seed):
        return CalibrationEvaluator(metricName="MVCE", numParts=20, seed=seed).evaluate(dataset)

    # Rows of equal score and label are rows of their own.
    twice = scored.union(scored)
    found = metric(twice, 1)
    assert metric(twice.repartition(7, "label"), 1) == pytest.approx(found, rel=1e-12)
    assert metric(twice.orderBy("label"), 1) == pytest.approx(found, rel=1e-12)
    assert metric(twice, 2) != found


def test_metrics_of_slots_need_slots(golden):
    for name in ("fieldECE", "binnedFieldECE"):
        with pytest.raises(ValueError, match=f"{name} needs slotCols"):
            CalibrationEvaluator(metricName=name).evaluate(golden)
    with pytest.raises(TypeError, match="'probability' .slotCols."):
        CalibrationEvaluator(slotCols=["probability"]).measureSlots(golden)

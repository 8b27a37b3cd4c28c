"""CalibrationEvaluator against numpy, hand-computed numbers and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
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
        CalibrationEvaluator(probabilityCol="label").evaluate(scored)
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

"""Where training starts, and what recalibration leaves in the fitted models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.classification import CTRClassificationModel
from spark_ctr.quantization import MixedPrecisionQuantizer, QuantizedCTRClassificationModel
from spark_ctr.rows.training_data import training_data
from spark_ctr.training.feeds import open_feed

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def weighted(small_clicks):
    """Clicks count three times, and so are most of the weight."""
    return small_clicks.withColumn("weight", 1.0 + 2.0 * F.col("label"))


def test_training_starts_at_the_odds_of_the_weighted_rows_before_sampling(weighted):
    stage = classifier(
        network="lr",
        weightCol="weight",
        negativeSamplingRate=0.5,
        learningRate=1e-9,
        maxIter=1,
        recalibrate=False,
    )
    with training_data(weighted, stage.training_columns()) as data:
        feed = open_feed(data.train_path, 2, 1, batch_size=10_000, shuffle=False, seed=0)
        (rows,) = feed.batches(0)
        weight = rows.weight.double().numpy()
        share = np.average(rows.label[:, 0].numpy(), weights=weight)
        assert data.log_odds == pytest.approx(math.log(share / (1 - share)) + math.log(0.5))
    model = stage.fit(weighted)
    assert model.summary.base_rate == pytest.approx(share / (2 - share))
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert model.summary.history["epochs"][0]["train_loss"] == pytest.approx(entropy, rel=0.01)
    assert model.torchNetwork.numeric.bias.item() == pytest.approx(data.log_odds, abs=1e-4)
    # A model to go on from stays what it was.
    later = stage.copy().setInitialModel(model).fit(weighted.filter("label = 1 or rand(1) < 0.3"))
    assert later.torchNetwork.numeric.bias.item() == pytest.approx(data.log_odds, abs=1e-4)


def test_slope_and_offset_go_with_the_model_and_the_quantised_one(small_clicks, tmp_path):
    # Clicks are rarer among the validation rows.
    held = F.expr("xxhash64(numericFeatures[0]) % if(label = 1, 5, 2) = 0")
    data = small_clicks.withColumn("held", held)
    stage = classifier(network="dnn", maxIter=2, validationIndicatorCol="held")
    fitted = MixedPrecisionQuantizer(classifier=stage, maxIter=1).fit(data)
    full = fitted.fullPrecisionModel
    found = full.summary.recalibration
    assert found["applied"] and found["cross_fitted"] < found["log_loss"]
    slope, offset = full.torchNetwork.logit_calibration[0].tolist()
    assert (slope, offset) == pytest.approx((found["slope"], found["offset"]), rel=1e-5)
    figures = fitted.summary.extra["validation"]
    assert figures["full"]["log_loss"] < found["log_loss"]
    for model, kind in (
        (full, CTRClassificationModel),
        (fitted, QuantizedCTRClassificationModel),
    ):
        model.save(f"{tmp_path}/{model.uid}-{kind.__name__}")
        loaded = kind.load(f"{tmp_path}/{model.uid}-{kind.__name__}")
        assert loaded.to_bytes() == model.to_bytes()
        assert loaded.summary.history["recalibration"] == model.summary.history["recalibration"]
    plain = stage.copy().setRecalibrate(False).fit(data)
    assert plain.summary.history["recalibration"] == {}
    assert plain.torchNetwork.logit_calibration.tolist() == [[1.0, 0.0]]

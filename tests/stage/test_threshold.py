"""A threshold from the validation rows, where clicks are too rare for one half."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.classification import CTRClassificationModel
from spark_ctr.quantization import MixedPrecisionQuantizer

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def held_out(small_clicks):
    """A third of the rows for validation; few of the clicks are kept."""
    rare = small_clicks.where((F.col("label") == 0) | (F.rand(seed=3) < 0.25))
    return rare.withColumn("held_out", F.hash("categoricalFeatures", "numericFeatures") % 3 == 0)


def _f1(model, rows):
    found = model.transform(rows).select("label", "prediction").toPandas()
    y, p = found["label"] == 1, found["prediction"] == 1.0
    return 2 * (y & p).sum() / max(1, y.sum() + p.sum())


def test_threshold_of_classifier_and_quantiser(held_out, tmp_path):
    settings = classifier(network="dnn", maxIter=2, validationIndicatorCol="held_out")
    quantised = MixedPrecisionQuantizer(classifier=settings, maxIter=1).fit(held_out)
    full = quantised.fullPrecisionModel
    rows = held_out.where("held_out").cache()
    for model in (full, quantised):
        points = model.summary.operating
        assert points["rows"][-1] == rows.count()
        assert points["clicks"][-1] == rows.where("label = 1").count()
        model.setThreshold(model.summary.threshold("f1"))
        by_counts = max(
            2 * c / (n + points["clicks"][-1])
            for c, n in zip(points["clicks"], points["rows"], strict=True)
        )
        assert _f1(model, rows) == pytest.approx(by_counts)
    full.write().overwrite().save(f"file://{tmp_path}/model")
    loaded = CTRClassificationModel.load(f"file://{tmp_path}/model")
    assert loaded.summary.operating == full.summary.operating
    assert loaded.getThreshold() == full.getThreshold() == full.summary.threshold()


def test_without_validation_rows_there_is_none(held_out):
    model = classifier(network="lr", maxIter=1, validationFraction=0.0).fit(held_out)
    with pytest.raises(ValueError, match="validationFraction"):
        model.summary.threshold("f1")

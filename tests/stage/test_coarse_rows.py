"""Rows of 4 bits for rare values, through the stage."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from small_classifier import classifier

from spark_ctr.precision.attempts import Attempts
from spark_ctr.quantization import MixedPrecisionQuantizer, QuantizedCTRClassificationModel

pytestmark = pytest.mark.once

WIDE = {"tolerance": 1.0, "lossTolerance": 1e9}


@pytest.fixture(scope="module")
def full(small_clicks):
    return classifier(maxIter=2, network="dnn").fit(small_clicks)


@pytest.fixture(scope="module")
def coarse(full, small_clicks):
    return MixedPrecisionQuantizer(classifier=full, coarseShare=0.5, **WIDE).fit(small_clicks)


def test_rare_rows_take_fewer_bytes(full, coarse, small_clicks):
    fine = MixedPrecisionQuantizer(classifier=full, **WIDE).fit(small_clicks)
    ranges = coarse.summary.extra["coarse"]
    rows = sum(last - first for blocks in ranges.values() for first, last in blocks)
    arrays = coarse.packedModel.to_arrays()[1]
    held = [array for name, array in arrays.items() if name.endswith(".nibbles")]
    assert rows == sum(map(len, held)) > 2
    # Rows of 2k bytes take k and one more.
    saved = sum(len(array) * (array.shape[1] - 2) for array in held)
    assert fine.packedModel.nbytes - coarse.packedModel.nbytes == saved > 0
    assert fine.summary.extra["coarse"] == {} and fine.plan == coarse.plan
    assert f"{rows} rows of tables in 4 bits" in coarse.summary.extra["attempts"][0]
    scored = [
        np.array([row.probability[1] for row in model.transform(small_clicks).collect()])
        for model in (fine, coarse)
    ]
    assert 0 < np.abs(scored[0] - scored[1]).max() < 0.2


def test_saving_keeps_them(coarse, small_clicks, tmp_path):
    coarse.save(f"file://{tmp_path}/model")
    loaded = QuantizedCTRClassificationModel.load(f"file://{tmp_path}/model")
    assert loaded.to_bytes() == coarse.to_bytes() and loaded.getCoarseShare() == 0.5
    assert loaded.summary.extra["coarse"] == coarse.summary.extra["coarse"]
    assert json.loads(json.dumps(loaded.summary.extra)) == loaded.summary.extra
    rows = [model.transform(small_clicks).select("probability") for model in (coarse, loaded)]
    assert rows[0].collect() == rows[1].collect()


def test_what_loses_too_much_is_not_kept_and_said(full, small_clicks, monkeypatch, caplog):
    monkeypatch.setattr(Attempts, "acceptable", lambda self, reached: False)
    stage = MixedPrecisionQuantizer(classifier=full, coarseShare=1.0, maxIter=1)
    with caplog.at_level(logging.WARNING, logger="spark_ctr"):
        model = stage.fit(small_clicks)
    assert model.summary.extra["coarse"] == {}
    assert "rows of 4 bits go back to 8 bits" in model.summary.extra["attempts"]
    (said,) = [r.getMessage() for r in caplog.records if "lossTolerance" in r.getMessage()]
    reached = model.summary.extra["validation"]["quantised"]
    assert said.startswith("MixedPrecisionQuantizer: validation AUC")
    assert f"{reached['auc']:.4f}" in said and f"{reached['log_loss']:.4f}" in said
    assert said.endswith("allow; raise these, or quantise another network")


def test_a_share_is_between_0_and_1():
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="coarseShare"):
            MixedPrecisionQuantizer(coarseShare=wrong)

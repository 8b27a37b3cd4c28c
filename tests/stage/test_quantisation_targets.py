"""Targets of time and bytes choose the 1-bit layers, and the model keeps what was measured."""

from __future__ import annotations

import json
import logging

import pytest
from small_classifier import classifier

from spark_ctr.quantization import MixedPrecisionQuantizer, QuantizedCTRClassificationModel

pytestmark = pytest.mark.once

WIDE = {"tolerance": 1.0, "lossTolerance": 1e9}


@pytest.fixture(scope="module")
def full(small_clicks):
    """A trained network, two layers of which may be 1-bit."""
    return classifier(maxIter=2, network="dnn", hiddenLayers=[16, 16, 8]).fit(small_clicks)


@pytest.fixture(scope="module")
def quantised(full, small_clicks):
    """Return the fit with some Params, each once."""
    fits = {}

    def fit(**params):
        key = repr(sorted(params.items()))
        if key not in fits:
            stage = MixedPrecisionQuantizer(classifier=full, maxIter=1, **params)
            fits[key] = stage.fit(small_clicks)
        return fits[key]

    return fit


def points(model):
    return model.summary.extra["front"]["points"]


def chosen(model):
    (found,) = [point for point in points(model) if point["chosen"]]
    return found


def binary(model):
    return [name for name, precision in model.plan.items() if precision == "binary"]


def test_targets_that_8_bits_meet_change_no_byte(quantised):
    plain, loose = quantised(), quantised(maxBytes=10**9, targetLatency=1e9)
    assert plain.to_bytes() == loose.to_bytes()
    assert "front" not in plain.summary.extra and not binary(plain)
    assert plain.summary.history == loose.summary.history
    assert plain.summary.extra["validation"] == loose.summary.extra["validation"]
    assert [len(point["binary"]) for point in points(loose)] == [0, 1, 2]
    assert all(point["microseconds_per_row"] > 0 for point in points(loose))
    assert chosen(loose)["bytes"] == loose.packedModel.nbytes
    assert plain.getOrDefault("lossTolerance") == 0.005 and not plain.isDefined("maxBytes")


def test_bytes_between_two_plans_give_the_smaller_one(quantised, small_clicks):
    sizes = [point["bytes"] for point in points(quantised(maxBytes=10**9, targetLatency=1e9))]
    assert sizes == sorted(sizes, reverse=True)
    for count in (1, 2):
        model = quantised(maxBytes=(sizes[count - 1] + sizes[count]) // 2, **WIDE)
        assert len(binary(model)) == count and model.packedModel.nbytes <= model.getMaxBytes()
        found = chosen(model)
        assert found["binary"] == binary(model) and found["bytes"] == model.packedModel.nbytes
        assert "least lossy plan that meets the targets" in model.summary.extra["attempts"][-1]
        assert found["log_loss"] == model.summary.extra["validation"]["quantised"]["log_loss"]
        scored = model.transform(small_clicks).select("probability").head()[0]
        assert 0 < scored[1] < 1


def test_an_impossible_target_falls_back_with_a_warning(quantised, caplog):
    with caplog.at_level(logging.WARNING, logger="spark_ctr"):
        model = quantised(maxBytes=1, tolerance=0.0, lossTolerance=0.0005)
    (said,) = [r.getMessage() for r in caplog.records if "targets" in r.getMessage()]
    found = chosen(model)
    assert said == f"MixedPrecisionQuantizer: {model.summary.extra['attempts'][-1]}"
    assert f"maxBytes=1 by {100 * (found['bytes'] - 1):.3g} % (it takes {found['bytes']:,})" in said
    assert "raise the target, or the tolerances, or quantise a smaller network" in said
    assert found["acceptable"] and sum(point["trained"] for point in points(model)) >= 1
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="spark_ctr"):
        nearest = quantised(maxBytes=1, **WIDE)
    assert len(binary(nearest)) == 2 and "maxBytes=1 by" in caplog.text


def test_saving_keeps_the_front_and_the_params(quantised, tmp_path):
    model = quantised(maxBytes=1, **WIDE)
    model.save(f"file://{tmp_path}/model")
    loaded = QuantizedCTRClassificationModel.load(f"file://{tmp_path}/model")
    front = model.summary.extra["front"]
    assert loaded.summary.extra["front"] == front == json.loads(json.dumps(front))
    assert loaded.getMaxBytes() == 1 and not loaded.isDefined("targetLatency")
    assert front["targets"] == {"microseconds_per_row": None, "bytes": 1}
    assert front["full"]["log_loss"] == model.summary.extra["validation"]["full"]["log_loss"]
    assert loaded.to_bytes() == model.to_bytes()


def test_a_share_and_targets_exclude_each_other(full, small_clicks):
    for target in ({"maxBytes": 1000}, {"targetLatency": 1.0}):
        stage = MixedPrecisionQuantizer(classifier=full, binaryShare=0.0, **target)
        with pytest.raises(ValueError, match="binaryShare to None, or these two"):
            stage.fit(small_clicks)
        stage.setBinaryShare(None)
        stage._check(full.inputs)


def test_targets_tell_the_points_of_a_grid_apart(full):
    stage = MixedPrecisionQuantizer(classifier=full)
    grid = [{}, {stage.maxBytes: 10}, {stage.maxBytes: 11}, {stage.targetLatency: 10.0}]
    assert len({stage.copy(point)._key() for point in grid}) == len(grid)
    assert len({tuple(stage.copy(point)._keys()) for point in grid}) == len(grid)

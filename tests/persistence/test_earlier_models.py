"""Models that an earlier version saved load, and give the scores they gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import PipelineModel
from saved_models import FORMAT1, SAVED
from small_models import array_rows, click_rows, scores

from spark_ctr.quantization import MixedPrecisionQuantizer

pytestmark = pytest.mark.once
SCORES = json.loads((FORMAT1 / "scores.json").read_text())


def test_scores_are_what_they_were(spark: Any, models: dict[str, Any]) -> None:
    data = click_rows(spark)
    pipeline = PipelineModel.load(str(FORMAT1 / "pipeline"))
    assert scores(pipeline, data) == pytest.approx(SCORES["pipeline"], abs=1e-5)
    pipeline = PipelineModel([*pipeline.stages[:-1], models["quantized"]])
    assert scores(pipeline, data) == pytest.approx(SCORES["quantized"], abs=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("packed2", id="several ids, signed and padded, a shared table, 1-bit layer"),
        pytest.param("packed3", id="tables of several widths, mapped logits, 1-bit layer"),
        pytest.param("ensemble", id="ensemble of low-rank networks"),
    ],
)
def test_later_formats_score_as_they_did(spark: Any, name: str) -> None:
    wanted = json.loads((SAVED / "scores.json").read_text())[name]
    model = PipelineModel.load(str(SAVED / name))
    assert scores(model, array_rows(spark)) == pytest.approx(wanted, abs=1e-6)


def test_nested_stage_is_loaded_and_saved_again(spark: Any, tmp_path: Path) -> None:
    quantizer = MixedPrecisionQuantizer.load(str(FORMAT1 / "quantizer"))
    assert quantizer.getClassifier().getHiddenLayers() == [8, 8]
    quantizer.save(str(tmp_path / "again"))
    again = MixedPrecisionQuantizer.load(str(tmp_path / "again"))
    assert again.getClassifier().uid == quantizer.getClassifier().uid

"""Stages and whole pipelines in CrossValidator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click_rows import assert_same_rows, rows_of
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel
from stages import ALONE, CASES, Case, sparing


def _validated(estimator: Any, grid: Any, data: Any, folder: Path) -> None:
    validator = CrossValidator(
        estimator=estimator,
        estimatorParamMaps=grid,
        evaluator=BinaryClassificationEvaluator(),
        numFolds=2,
        seed=1,
    )
    model = validator.fit(data)
    assert len(model.avgMetrics) == 2
    assert all(0.0 <= metric <= 1.0 for metric in model.avgMetrics)
    model.save(f"{folder}/cv")
    loaded = CrossValidatorModel.load(f"{folder}/cv")
    assert loaded.avgMetrics == model.avgMetrics
    assert loaded.getEstimatorParamMaps() == grid
    assert_same_rows(rows_of(loaded.transform(data)), rows_of(model.transform(data)))


@pytest.mark.parametrize(
    "case", sparing(ALONE, lambda case: not case.nested), ids=lambda case: case.name
)
def test_cross_validation(case: Case, data: Any, tmp_path: Path) -> None:
    stage = case.make(str)
    _validated(stage, case.grid(stage), data, tmp_path)


@pytest.mark.once
def test_cross_validation_of_a_pipeline(
    chain: tuple[Pipeline, PipelineModel], clicks: Any, tmp_path: Path
) -> None:
    stages = chain[0].getStages()
    grids = [case.grid(s) for s in stages for case in CASES if case.stage is type(s)][:3]
    grid = [cleaner | selector | encoder for cleaner, selector, encoder in zip(*grids, strict=True)]
    assert [len(point) for point in grid] == [3, 3]
    _validated(chain[0], grid, clicks.raw, tmp_path)

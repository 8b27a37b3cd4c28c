"""Extra ParamMaps, nested stages and Pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click_rows import assert_same_rows, rows_of
from pyspark.ml import Pipeline, PipelineModel
from stages import ALONE, CASES, Case, nested_params, sparing

NESTED = [case for case in CASES if case.nested]
EACH_NESTED = pytest.mark.parametrize("case", sparing(NESTED), ids=lambda case: case.name)


def _values(stage: Any) -> dict[str, Any]:
    return {p.name: stage.getOrDefault(p) for p in stage.params if stage.isSet(p)}


def test_fit_takes_extra_params(case: Case, data: Any) -> None:
    stage = case.make(str)
    point, _ = case.grid(stage)
    extra = stage.fit(data, point)
    for declared, value in point.items():
        if declared.parent == stage.uid and extra.hasParam(declared.name):
            assert extra.getOrDefault(declared.name) == value
    (other,) = stage.fit(data, [point])
    assert other.uid == extra.uid == stage.uid
    assert case.fingerprint(other) == case.fingerprint(extra)


@pytest.mark.parametrize("case", sparing(ALONE), ids=lambda case: case.name)
def test_extra_params_change_the_model(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    stage = case.make(str)
    inner = stage
    for name in nested_params(stage)[-1:]:
        inner = stage.getOrDefault(name)
    other = stage.fit(data, {inner.learningRate: 0.2})
    assert case.fingerprint(other) != case.fingerprint(fitted(case))
    assert inner.getLearningRate() == 0.01


def test_transform_takes_extra_params(case: Case, data: Any, fitted: Callable[[Case], Any]) -> None:
    model = fitted(case)
    for param, output in case.adds:
        if param == "outputSuffix":
            continue
        out = model.transform(data, {model.getParam(param): "renamed"})
        assert "renamed" in out.columns
        assert output not in out.columns
        assert model.getOrDefault(param) == output


@EACH_NESTED
def test_nested_stage_may_be_fitted_already(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    for param, make in case.nested:
        inner = make(str).fit(data)
        before = inner.to_bytes()
        stage = case.make(str)._set(**{param: inner})
        model = stage.fit(data)
        assert inner.to_bytes() == before
        # The nested estimator trains to the same weights, so the outcome is the same.
        assert case.fingerprint(model) == case.fingerprint(fitted(case))


@EACH_NESTED
def test_nested_stage_must_be_set(case: Case, data: Any) -> None:
    for param, _ in case.nested:
        stage = case.make(str)
        stage.clear(stage.getParam(param))
        with pytest.raises(ValueError, match=f"{case.name} needs {param}"):
            stage.fit(data)


def test_pipeline_survives_saving(
    chain: tuple[Pipeline, PipelineModel], clicks: Any, tmp_path: Path
) -> None:
    pipeline, model = chain
    pipeline.save(f"{tmp_path}/pipeline")
    model.save(f"{tmp_path}/model")
    again = Pipeline.load(f"{tmp_path}/pipeline")
    assert [s.uid for s in again.getStages()] == [s.uid for s in pipeline.getStages()]
    assert [_values(s) for s in again.getStages()] == [_values(s) for s in pipeline.getStages()]
    loaded = PipelineModel.load(f"{tmp_path}/model")
    assert_same_rows(rows_of(loaded.transform(clicks.raw)), rows_of(model.transform(clicks.raw)))


def test_every_stage_survives_in_a_pipeline(
    clicks: Any, fitted: Callable[[Case], Any], tmp_path: Path
) -> None:
    Pipeline(stages=[case.make(str) for case in CASES]).save(f"{tmp_path}/pipeline")
    PipelineModel([fitted(case) for case in CASES]).save(f"{tmp_path}/model")
    stages = Pipeline.load(f"{tmp_path}/pipeline").getStages()
    models = PipelineModel.load(f"{tmp_path}/model").stages
    for case, stage, model in zip(CASES, stages, models, strict=True):
        assert type(stage) is case.stage
        assert type(model) is case.model
        assert case.fingerprint(model) == case.fingerprint(fitted(case))

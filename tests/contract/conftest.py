"""Data and fitted models that all checks of the contract share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click_rows import ClickRows, raw_rows
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import functions as F
from stages import CASES, Case, sparing

from spark_ctr.classification import CTRClassifier
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector


@pytest.fixture(autouse=True, scope="session")
def session(spark: Any) -> None:
    """Start the session for all: saving takes the active one and starts none on Connect."""


@pytest.fixture(scope="session")
def clicks(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> ClickRows:
    """Raw, encoded and scored rows, read from Parquet files of two partitions."""
    folder = tmp_path_factory.mktemp("clicks")
    raw_rows(spark).repartition(2, "row").write.parquet(f"{folder}/raw")
    raw = spark.read.parquet(f"{folder}/raw")
    encoder = HashedEmbeddingEncoder(
        inputCols=["site", "device"],
        numericCols=["price"],
        numBuckets=5,
        embeddingDim=4,
        handleInvalid="keep",
    )
    encoder.fit(raw).transform(raw).write.parquet(f"{folder}/encoded")
    p = F.expr("0.1 + 0.8 * (row * 37 % 101) / 101.0").cast("double")
    raw.withColumn("score", p).write.parquet(f"{folder}/scored")
    return ClickRows(raw, *(spark.read.parquet(f"{folder}/{n}") for n in ("encoded", "scored")))


@pytest.fixture(scope="session")
def chain(clicks: Any) -> tuple[Pipeline, PipelineModel]:
    """The whole pipeline and its model."""
    cleaner = ClickLogCleaner(
        categoricalCols=["site", "device"], numericCols=["price"], numBuckets=3
    )
    selector = PowerLawFeatureSelector(budget=64, minRelevance=0.0, alternatives=[])
    classifier = CTRClassifier(
        network="lr", maxIter=1, batchSize=32, device="cpu", verbose=False, validationFraction=0.2
    )
    pipeline = Pipeline(stages=[cleaner, selector, HashedEmbeddingEncoder(), classifier])
    return pipeline, pipeline.fit(clicks.raw)


@dataclass(frozen=True)
class Fit:
    """A fitted stage: its Params before and after, and its model."""

    before: dict[str, Any]
    after: dict[str, Any]
    model: Any


def _values(stage: Any) -> dict[str, Any]:
    return {p.name: stage.getOrDefault(p) for p in stage.params if stage.isDefined(p)}


@pytest.fixture(scope="session")
def fit_once(clicks: ClickRows) -> Callable[[Case], Fit]:
    """Return the one fit of a case that all tests share."""
    fits: dict[str, Fit] = {}

    def fit(case: Case) -> Fit:
        if case.name not in fits:
            stage = case.make(str)
            before = _values(stage)
            model = stage.fit(getattr(clicks, case.data))
            fits[case.name] = Fit(before, _values(stage), model)
        return fits[case.name]

    return fit


@pytest.fixture(scope="session")
def fitted(fit_once: Callable[[Case], Fit]) -> Callable[[Case], Any]:
    """Return the model of a case, fitted once; do not change it, copy it."""
    return lambda case: fit_once(case).model


@pytest.fixture(params=sparing(CASES), ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Every listed stage in turn, one of a kind unless all are wanted."""
    return request.param


@pytest.fixture
def data(case: Case, clicks: ClickRows) -> Any:
    """Rows that the case is fitted on."""
    return getattr(clicks, case.data)


@pytest.fixture(scope="session")
def saved(
    fitted: Callable[[Case], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case, str], Path]:
    """Return the folder of a case's "stage" or "model", saved once; copy it before breaking it."""
    root = tmp_path_factory.mktemp("saved")

    def folder(case: Case, kind: str) -> Path:
        path = root / f"{case.name}-{kind}"
        if not path.exists():
            stage = case.make(str) if kind == "stage" else fitted(case)
            stage.save(str(path))
        return path

    return folder

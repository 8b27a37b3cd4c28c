"""Data and fitted models that all checks of the contract share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click_rows import ClickRows, raw_rows
from stages import CASES, Case

from spark_ctr.feature import HashedEmbeddingEncoder


@pytest.fixture(autouse=True, scope="session")
def session(spark: Any) -> None:
    """Start the session for all: saving takes the active one and starts none on Connect."""


@pytest.fixture(scope="session")
def clicks(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> ClickRows:
    """Raw and encoded rows, read from Parquet files of two partitions."""
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
    return ClickRows(raw, spark.read.parquet(f"{folder}/encoded"))


@pytest.fixture(scope="session")
def fitted(clicks: ClickRows) -> Callable[[Case], Any]:
    """Return the model of a case, fitted once; do not change it, copy it."""
    models: dict[str, Any] = {}

    def model(case: Case) -> Any:
        if case.name not in models:
            models[case.name] = case.make(str).fit(getattr(clicks, case.data))
        return models[case.name]

    return model


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Every listed stage in turn."""
    return request.param


@pytest.fixture
def data(case: Case, clicks: ClickRows) -> Any:
    """Rows that the case is fitted on."""
    return getattr(clicks, case.data)


@pytest.fixture(scope="session")
def saved(
    fitted: Callable[[Case], Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of all estimators and models of CASES, saved once; copy one before breaking it."""
    root = tmp_path_factory.mktemp("saved")
    folders = {}
    for case in CASES:
        for kind, stage in (("stage", case.make(str)), ("model", fitted(case))):
            folders[f"{case.name}-{kind}"] = root / f"{case.name}-{kind}"
            stage.save(str(folders[f"{case.name}-{kind}"]))
    return folders

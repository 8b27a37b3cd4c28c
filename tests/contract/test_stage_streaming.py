"""Fitted models in Structured Streaming: the same rows as in batch, and skipped rows counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click_rows import ROWS, Break, assert_same_rows, rows_of
from pyspark.ml import PipelineModel
from stages import Case, breaks

IN_TRANSFORM = pytest.mark.parametrize(
    ("case", "broken"), breaks("transform"), ids=lambda part: part.name
)


def _stream(data: Any, folder: Path, kind: str = "parquet") -> Any:
    data.repartition(2).write.format(kind).save(f"{folder}/in")
    reader = data.sparkSession.readStream.schema(data.schema).format(kind)
    return reader.option("maxFilesPerTrigger", 1).load(f"{folder}/in")


def _run(out: Any, folder: Path) -> Any:
    writer = out.writeStream.format("parquet").option("checkpointLocation", f"{folder}/check")
    query = writer.trigger(availableNow=True).start(f"{folder}/out")
    try:
        assert query.awaitTermination(120)
        return query, rows_of(out.sparkSession.read.schema(out.schema).parquet(f"{folder}/out"))
    finally:
        query.stop()


def test_stream_gives_the_rows_of_batch(
    case: Case, data: Any, fitted: Callable[[Case], Any], tmp_path: Path
) -> None:
    model = fitted(case)
    kind = "json" if case.data == "raw" else "parquet"
    _, found = _run(model.transform(_stream(data, tmp_path, kind)), tmp_path)
    assert len(found) == ROWS
    assert_same_rows(found, rows_of(model.transform(data)), 1e-6)


def _skipped_rows(metrics: Any) -> int:
    # Spark 4.3's Connect gives rows whose fields are "values" and "schema".
    broken = "values" in getattr(metrics, "__fields__", ())
    return int(metrics["values"][0] if broken else metrics["skipped_rows"])


@IN_TRANSFORM
def test_stream_counts_what_it_skips(
    case: Case, broken: Break, data: Any, fitted: Callable[[Case], Any], tmp_path: Path
) -> None:
    model = fitted(case).copy().setHandleInvalid("skip")
    query, found = _run(model.transform(_stream(broken.apply(data), tmp_path)), tmp_path)
    skipped = 0
    for progress in query.recentProgress:
        report = progress if isinstance(progress, dict) else json.loads(progress.json)
        skipped += sum(map(_skipped_rows, report.get("observedMetrics", {}).values()))
    assert skipped == broken.rows
    assert len(found) + skipped == ROWS


def test_two_models_of_a_class_in_one_stream(
    case: Case, data: Any, fitted: Callable[[Case], Any], tmp_path: Path
) -> None:
    first = fitted(case).copy().setHandleInvalid("skip")
    second = case.make(str).fit(data).setHandleInvalid("skip")
    for param, output in case.adds:
        second._set(**{param: "_again" if param == "outputSuffix" else f"{output}Again"})
    both = PipelineModel([first, second])
    _, found = _run(both.transform(_stream(data, tmp_path)), tmp_path)
    assert_same_rows(found, rows_of(both.transform(data)), 1e-6)

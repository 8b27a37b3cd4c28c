"""Same rows, same model, same scores: however they are partitioned, batched or repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click_rows import assert_same_rows, rows_of, set_column
from pyspark.sql import functions as F
from stages import CASES, Case

_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


def test_model_does_not_depend_on_partitions(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    one_row_apart = (
        data.filter("row = 7").coalesce(1).unionByName(data.filter("row <> 7").repartition(3))
    )
    mostly_empty = data.repartition(16, "label")
    wanted = case.fingerprint(fitted(case))
    for spread in (one_row_apart, mostly_empty):
        assert case.fingerprint(case.make(str).fit(spread)) == wanted


def test_fit_leaves_the_stage_as_it_was(case: Case, fit_once: Callable[[Case], Any]) -> None:
    assert fit_once(case).after == fit_once(case).before != {}


def test_same_rows_twice_give_same_values(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case)
    assert_same_rows(rows_of(model.transform(data)), rows_of(model.transform(data)))


def test_values_do_not_depend_on_partitions_or_batches(
    case: Case, data: Any, fitted: Callable[[Case], Any], spark: Any
) -> None:
    model = fitted(case)
    wanted = rows_of(model.transform(data))
    assert_same_rows(rows_of(model.transform(data.repartition(5))), wanted, 1e-6)
    before = spark.conf.get(_BATCH)
    spark.conf.set(_BATCH, "7")
    try:
        assert_same_rows(rows_of(model.transform(data.coalesce(1))), wanted, 1e-6)
    finally:
        spark.conf.set(_BATCH, before)


@pytest.mark.parametrize("policy", ["error", "skip", "keep"])
def test_transform_runs_no_action(
    case: Case, policy: str, data: Any, fitted: Callable[[Case], Any]
) -> None:
    name = case.reads[0].column
    kind = data.schema[name].dataType
    fails = F.when(F.col("row") >= 0, F.raise_error(F.lit("evaluated")).cast(kind))
    trap = set_column(data, name, fails)
    with pytest.raises(Exception, match="evaluated"):
        trap.select(name).collect()
    out = fitted(case).copy().setHandleInvalid(policy).transform(trap)
    assert out.columns[: len(data.columns)] == data.columns


def test_transform_starts_no_job(
    case: Case, data: Any, fitted: Callable[[Case], Any], spark: Any
) -> None:
    if not hasattr(spark, "sparkContext") or ".connect." in type(spark).__module__:
        pytest.skip("Spark Connect has no job tracker; see test_transform_runs_no_action")
    group = f"transform of {case.name}"
    tracker = spark.sparkContext.statusTracker()
    spark.sparkContext.setJobGroup(group, group)
    try:
        fitted(case).transform(data)
        assert list(tracker.getJobIdsForGroup(group)) == []
        data.count()
        assert list(tracker.getJobIdsForGroup(group)) != []
    finally:
        spark.sparkContext.setJobGroup("", "")


def test_cases_are_listed_once() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 6

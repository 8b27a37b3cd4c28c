"""Awkward rows: none, one, empty partitions, nulls, unseen and huge values, one class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click_rows import ROWS, assert_same_rows, rows_of, set_column
from pyspark.sql import functions as F
from stages import CASES, Case, sparing

WITH_NULLS = pytest.mark.parametrize(
    ("case", "name"),
    # A nested stage's rows are checked as its classifier's are.
    sparing(((c, name) for c in CASES for name in c.nullable), lambda case, _: bool(case.nested)),
    ids=lambda part: part.name if isinstance(part, Case) else part,
)
WITH_TEXT = pytest.mark.parametrize(
    ("case", "name"),
    sparing((case, name) for case in CASES for name in case.text),
    ids=lambda part: part.name if isinstance(part, Case) else part,
)


def test_fit_refuses_no_rows(case: Case, data: Any) -> None:
    with pytest.raises(ValueError, match="no rows"):
        case.make(str).fit(data.limit(0))


def test_transform_of_no_rows_has_the_schema(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case)
    empty = model.transform(data.limit(0))
    assert empty.collect() == []
    assert empty.schema == model.transform(data).schema


def test_transform_adds_the_columns_it_says(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    out = fitted(case).transform(data)
    assert out.columns[: len(data.columns)] == data.columns
    assert {name for _, name in case.adds} <= set(out.columns)
    case.check_values(out, fitted(case))


def test_empty_partitions_and_partitions_of_one_row(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    few = data.filter("row < 3")
    wanted = rows_of(fitted(case).transform(few))
    one_each = few.repartitionByRange(3, "row")
    mostly_empty = few.repartition(8, "label")
    for spread in (one_each, mostly_empty):
        assert_same_rows(rows_of(fitted(case).transform(spread)), wanted, 1e-6)


@WITH_NULLS
def test_column_of_nulls(case: Case, name: str, data: Any, fitted: Callable[[Case], Any]) -> None:
    nulls = set_column(data, name, F.lit(None).cast(data.schema[name].dataType))
    refitted = case.policy(case.make(str), "keep").fit(nulls)
    for model in (refitted, fitted(case).copy().setHandleInvalid("keep")):
        out = model.transform(nulls)
        assert out.count() == ROWS
        case.check_values(out, model)


@WITH_TEXT
def test_unseen_unicode_and_huge_values(
    case: Case, name: str, data: Any, fitted: Callable[[Case], Any]
) -> None:
    texts = ["'never seen'", "'ž日本 🛒'", "'\\u0000'", "''", "repeat('ü', 500000)"]
    value = F.col(name)
    for row, text in enumerate(texts):
        value = F.when(F.col("row") == row, F.expr(text)).otherwise(value)
    awkward = set_column(data, name, value)
    for model in (fitted(case), case.make(str).fit(awkward)):
        out = model.transform(awkward)
        assert out.count() == ROWS
        case.check_values(out, model)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(
    "case", sparing(case for case in CASES if case.single_class), ids=lambda case: case.name
)
def test_labels_of_one_class_are_refused(case: Case, label: int, data: Any) -> None:
    with pytest.raises(ValueError, match=case.single_class) as error:
        case.make(str).fit(data.withColumn("label", F.lit(label)))
    assert str(ROWS) in str(error.value)
    assert "both" in str(error.value)


@pytest.mark.parametrize(
    "case", sparing(case for case in CASES if case.data == "encoded"), ids=lambda case: case.name
)
def test_prediction_is_one_above_the_threshold(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    rows = fitted(case).transform(data).select("probability").collect()
    threshold = sorted(row[0][1] for row in rows)[ROWS // 2]
    model = fitted(case).copy()._set(threshold=threshold)
    for probability, prediction in (
        model.transform(data).select("probability", "prediction").collect()
    ):
        assert prediction == float(probability[1] > threshold)

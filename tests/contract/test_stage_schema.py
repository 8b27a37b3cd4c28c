"""Columns of every stage: missing, of a wrong type, clashing, and with awkward names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from click_rows import assert_same_rows, rows_of
from pyspark.sql import functions as F
from stages import CASES, Case, Reads, sparing

EACH_COLUMN = pytest.mark.parametrize(
    ("case", "reads"),
    sparing((case, reads) for case in CASES for reads in case.reads),
    ids=lambda part: part.name if isinstance(part, Case) else part.column,
)
EACH_OUTPUT = pytest.mark.parametrize(
    ("case", "param", "output"),
    sparing((case, param, output) for case in CASES for param, output in case.adds),
    ids=lambda part: part.name if isinstance(part, Case) else part,
)


def _uses(case: Case, model: Any, reads: Reads) -> list[tuple[Callable[[Any], Any], str]]:
    uses = [(case.make(str).fit, "fit")] if reads.in_fit else []
    return uses + ([(model.transform, "transform")] if reads.in_transform else [])


@EACH_COLUMN
def test_wrong_type_names_column_and_param(
    case: Case, reads: Reads, data: Any, fitted: Callable[[Case], Any]
) -> None:
    wrong = data.withColumn(reads.column, F.lit(None).cast(reads.wrong))
    for use, where in _uses(case, fitted(case), reads):
        with pytest.raises(TypeError, match=reads.column) as error:
            use(wrong)
        assert reads.param in str(error.value), where
        assert reads.wrong.split("<")[0] in str(error.value), where


@EACH_COLUMN
def test_missing_column_is_named_with_similar_ones(
    case: Case, reads: Reads, data: Any, fitted: Callable[[Case], Any]
) -> None:
    renamed = data.withColumnRenamed(reads.column, reads.column + "s")
    for use, where in _uses(case, fitted(case), reads):
        with pytest.raises(ValueError, match=f"'{reads.column}'") as error:
            use(renamed)
        assert reads.param in str(error.value), where
        assert f"did you mean '{reads.column}s'" in str(error.value), where


@EACH_OUTPUT
def test_clashing_output_names_column_and_param(
    case: Case, param: str, output: str, data: Any, fitted: Callable[[Case], Any]
) -> None:
    clashing = data.withColumn(output, F.lit(1))
    for use in (case.make(str).fit, fitted(case).transform):
        with pytest.raises(ValueError, match=f"'{output}'") as error:
            use(clashing)
        assert param in str(error.value)


def test_two_outputs_of_one_name_are_refused(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    params = [param for param, _ in case.adds if param != "outputSuffix"]
    for first, second in itertools.pairwise(params):
        model = fitted(case).copy()
        model._set(**{first: "same", second: "same"})
        with pytest.raises(ValueError, match="same"):
            model.transform(data)


def _awkward(name: str) -> str:
    """Put a dot, a space, backticks and letters beyond ASCII into a name."""
    return f"`my` {name}.x`_ž日本 🛒"


def test_awkward_column_names_change_nothing(
    case: Case, data: Any, fitted: Callable[[Case], Any]
) -> None:
    renamed = data
    for name in set(data.columns) - {"row"}:
        renamed = renamed.withColumnRenamed(name, _awkward(name))
    model = case.make(_awkward).fit(renamed)
    plain = rows_of(fitted(case).transform(data))
    found = rows_of(model.transform(renamed))
    assert_same_rows([dict(zip(plain[0], row.values(), strict=True)) for row in found], plain, 1e-6)

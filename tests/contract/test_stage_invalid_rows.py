"""handleInvalid of every stage: rows fail, or are dropped and counted, or are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click_rows import ROWS, Break
from stages import Case, breaks

EACH = {"argnames": ("case", "broken"), "ids": lambda part: part.name}
IN_FIT = pytest.mark.parametrize(argvalues=breaks("fit"), **EACH)
IN_TRANSFORM = pytest.mark.parametrize(argvalues=breaks("transform"), **EACH)


@IN_FIT
def test_fit_fails_on_error(case: Case, broken: Break, data: Any) -> None:
    with pytest.raises(ValueError, match="handleInvalid") as error:
        case.policy(case.make(str), "error").fit(broken.apply(data))
    assert str(broken.rows) in str(error.value)


@IN_FIT
def test_fit_counts_what_it_skips(case: Case, broken: Break, data: Any) -> None:
    model = case.policy(case.make(str), "skip").fit(broken.apply(data))
    assert case.skipped_in_fit(model) == broken.rows
    if broken is case.breaks[0]:
        clean = case.policy(case.make(str), "skip").fit(broken.whole(data))
        assert case.skipped_in_fit(clean) == 0


@IN_FIT
def test_fit_keeps(case: Case, broken: Break, data: Any) -> None:
    stage = case.policy(case.make(str), "keep")
    if broken.keep_in_fit:
        model = stage.fit(broken.apply(data))
        case.check_values(model.transform(data), model)
    else:
        with pytest.raises(ValueError, match=str(broken.rows)):
            stage.fit(broken.apply(data))


@IN_TRANSFORM
def test_transform_fails_on_error(
    case: Case, broken: Break, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case).copy().setHandleInvalid("error")
    assert model.transform(broken.whole(data)).count() == ROWS
    with pytest.raises(Exception, match="use handleInvalid='skip' or 'keep'"):
        model.transform(broken.apply(data)).collect()  # count() may leave scores uncomputed


@IN_TRANSFORM
def test_transform_counts_what_it_skips(
    case: Case, broken: Break, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case).copy().setHandleInvalid("skip")
    for rows, dataset in ((broken.rows, broken.apply(data)), (0, broken.whole(data))):
        kept = len(model.transform(dataset).collect())
        assert model.skippedRows == rows
        assert kept + model.skippedRows == ROWS


@IN_TRANSFORM
def test_transform_keeps(
    case: Case, broken: Break, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case).copy().setHandleInvalid("keep")
    out = model.transform(broken.apply(data))
    assert out.count() == ROWS
    case.check_values(out, model)


@IN_TRANSFORM
def test_skipped_rows_of_no_rows(
    case: Case, broken: Break, data: Any, fitted: Callable[[Case], Any]
) -> None:
    model = fitted(case).copy().setHandleInvalid("skip")
    assert model.transform(broken.apply(data).limit(0)).collect() == []
    assert model.skippedRows == 0

"""A saved cleaner is checked for meaning when it is loaded, not for its checksums only."""

from __future__ import annotations

import copy
import math

import pytest

from spark_ctr.feature import ClickLogCleanerModel
from spark_ctr.feature.cleaner_state import check_state
from spark_ctr.feature.standardisation import Frame, Standardisation
from spark_ctr.stage.persistence import ModelFileError

FACTS = Standardisation.of(Frame.around(0.0, 8.0), -1.0, 2.0).facts() | {"cuts": [1.0, 2.5, 4.0]}
STATE = {
    "rows": 10,
    "skipped": 0,
    "numeric": {"price": FACTS},
    "report": [
        {"column": "price", "kind": "numeric", "rows": 10, "missing": 1, "invalid": 0, "changed": 1}
    ],
}


def test_what_fitting_makes_passes_and_so_do_earlier_versions():
    check_state(STATE, ["price"], "log+quantile")
    earlier = STATE | {"numeric": {"price": {"mean": 1.0, "std": 2.0}}}
    check_state(earlier, ["price"], "standardize")


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("mean", math.nan, "price.mean is not a finite"),
        ("mean", "0", "price.mean is not a number"),
        ("std", 0.0, "price.std is not positive"),
        ("std", True, "price.std is not a number"),
        ("unit", -1.0, "price.unit is not positive"),
        ("unit", 1e-320, "in units is not a finite"),
        ("origin", 2**70, "no integer of 64 bits"),
        ("origin", 10**400, "price.origin is not a finite"),
        ("std_in_units", None, "price.std_in_units is not a number"),
        ("cuts", [1.0, math.inf], "price.cuts is not a finite"),
        ("cuts", [2.0, 1.0], "price.cuts do not rise"),
        ("cuts", [1.0, 1.0], "price.cuts do not rise"),
        ("cuts", "0D, sleep(1)", "price.cuts is not a list"),
        ("cuts", ["0D, sleep(1)"], "price.cuts is not a number"),
    ],
)
def test_altered_statistics_are_named(part, value, said):
    state = copy.deepcopy(STATE)
    state["numeric"]["price"] |= {"origin": 4e300} if value == 1e-320 else {}
    state["numeric"]["price"][part] = value
    model = ClickLogCleanerModel(numericCols=["price"])
    with pytest.raises(ModelFileError, match=said):
        model._restore(state, {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": -1}, "rows is not a count"),
        ({"skipped": 0.5}, "skipped is not a count"),
        ({"numeric": {}}, "statistics of no column, but numericCols names price"),
        ({"numeric": {"price": 3}}, "numeric.price is not a mapping"),
        ({"report": None}, "report is not a list"),
        ({"report": [{"column": "price"}]}, "kind is not a text"),
        ({"report": [STATE["report"][0] | {"missing": "x"}]}, "missing is not a count"),
    ],
)
def test_altered_parts_are_named(changed, said):
    with pytest.raises(ValueError, match=said):
        check_state(STATE | changed, ["price"], "quantile")

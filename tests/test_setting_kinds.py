"""Settings by themselves: what each kind accepts, and in which form."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.settings import (
    CheckedSettings,
    choice,
    columns,
    declare,
    documented,
    flag,
    integer,
    number,
    settings_of,
    share,
    widths,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.none() | st.floats(-9, 9)


@given(FINITE, BOUNDS, BOUNDS, st.booleans(), st.booleans())
def test_a_number_is_accepted_between_its_bounds(value, low, high, low_in, high_in):
    setting = number(
        0.0,
        at_least=low if low_in else None,
        above=None if low_in else low,
        at_most=high if high_in else None,
        below=None if high_in else high,
    )
    inside = (low is None or value > low or (low_in and value == low)) and (
        high is None or value < high or (high_in and value == high)
    )
    assert (setting.low, setting.high) == (low, high)
    if inside:
        assert setting.value("x", value) == value
    else:
        with pytest.raises(ValueError, match="^x must be (at least|above|at most|below) "):
            setting.value("x", value)


@given(st.integers(-(10**6), 10**6), st.sampled_from([int, float, np.int64, np.float64]))
def test_a_whole_number_may_come_in_any_type(value, kind):
    found = integer(None, at_least=-(10**6)).value("x", kind(value))
    assert found == value and type(found) is int


@given(st.lists(st.integers(-2, 9)))
def test_widths_are_positive(value):
    for form in (value, tuple(value), np.array(value, np.int64)):
        if all(width > 0 for width in value):
            found = widths([]).value("x", form)
            assert found == value and json.loads(json.dumps(found)) == value
            assert found is not form
        else:
            with pytest.raises(ValueError, match="x must be a list of positive ints"):
                widths([]).value("x", form)


@pytest.mark.parametrize(
    ("setting", "value", "error", "message"),
    [
        (share(0.1), 1, ValueError, "below 1.0: 1"),
        (share(0.1), math.nan, ValueError, "finite: nan"),
        (share(0.1), True, TypeError, "a number: True"),
        (share(0.1), None, TypeError, "a number: None"),
        (integer(1, 1), 1.5, ValueError, "a whole number: 1.5"),
        (flag(True), 1, TypeError, "a bool: 1"),
        (choice("a", "b"), "c", ValueError, "one of 'a', 'b': 'c'"),
        (widths([4]), "44", TypeError, "a list of positive ints: '44'"),
        (widths([4]), [True], TypeError, r"a list of positive ints: \[True\]"),
        (columns(), "site", TypeError, "a list of column names: 'site'"),
        (columns(), [1], TypeError, r"a list of column names: \[1\]"),
    ],
)
def test_errors_say_what_a_value_must_be(setting, value, error, message):
    with pytest.raises(error, match=f"^key must be {message}$"):
        setting.value("key", value)


def test_a_dataclass_of_settings_checks_and_documents_its_fields():
    @documented
    @dataclass(frozen=True)
    class Loss(CheckedSettings):
        """Of a loss."""

        weight: float = declare(number(1.0, at_least=0.0, doc="weight of the term"))
        cut: float | None = declare(number(None, above=0.0, doc="largest value"))

    assert replace(Loss(), weight=2) == Loss(weight=2.0)
    assert type(Loss(weight=2).weight) is float and Loss(cut=None).cut is None
    assert list(settings_of(Loss)) == ["weight", "cut"]
    assert "weight of the term" in Loss.__doc__ and "largest value" in Loss.__doc__
    with pytest.raises(ValueError, match=r"weight must be at least 0.0: -1"):
        Loss(weight=-1)

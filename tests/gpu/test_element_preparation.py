"""Preparation of what the kernels of ``elements`` read: axes, positions, ranges of ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.kernels.cuda import copy_axes, id_ranges, pair_axes, take_positions
from spark_ctr.tables import Table

COPY = {
    "lengths": [3, 2],
    "a": [1, 3],
    "b": [4, 1],
    "a_elements": 7,
    "b_elements": 12,
    "a_first": 1,
    "b_first": 2,
}


def test_axes_by_hand():
    (axes,) = copy_axes(**COPY)
    assert axes.tolist()[:4] == (2, 6, 1, 2)
    assert [axes[name].tolist() for name in ("length", "a", "b")] == [
        [3, 2, *[0] * 6],
        [1, 3, *[0] * 6],
        [4, 1, *[0] * 6],
    ]
    # Axes of one position are left out, whatever their strides, and none is one of them.
    (axes,) = pair_axes([1] * 9 + [4], [99] * 9 + [0], [99] * 9 + [1], a_elements=1, b_elements=4)
    assert axes.tolist()[:4] == (1, 4, 0, 0)
    assert (axes["length"][0], axes["a"][0], axes["b"][0]) == (4, 0, 1)
    (axes,) = pair_axes([], [], [], a_elements=1, b_elements=1)
    assert axes.tolist()[:4] == (1, 1, 0, 0)


def test_axes_of_nothing_read_nothing():
    (axes,) = copy_axes([2, 0], [5, 1], [0, 0], a_elements=0, b_elements=0, a_first=3)
    assert axes.tolist()[:4] == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a_elements": 6}, "leave a row of 6"),
        ({"b_elements": 11}, "leave a row of 11"),
        ({"a_first": 2}, "leave a row of 7"),
        ({"b_first": 3}, "leave a row of 12"),
        ({"a_first": -1}, "leave a row of 7"),
        ({"b_first": -1}, "leave a row of 12"),
        ({"a": [2, 3]}, "leave a row of 7"),
        ({"b": [4, 2]}, "leave a row of 12"),
        ({"b_elements": 2**22 + 1}, "more than 4194304"),
        ({"a": [-1, 3]}, "negative"),
        ({"lengths": [-3, -2]}, "negative"),
        ({"b": [0, 1]}, "two elements at one place"),
        ({"b": [1, 2]}, "two elements at one place"),
        ({"b": [1, 1]}, "two elements at one place"),
    ],
)
def test_axes_that_leave_an_array_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        copy_axes(**{**COPY, **change})


def test_axes_of_no_shape_are_refused():
    with pytest.raises(ValueError, match="9 axes are more than 8"):
        pair_axes([2] * 9, [0] * 9, [0] * 9, a_elements=1, b_elements=1)
    with pytest.raises(ValueError, match="more than 4194304 elements"):
        pair_axes([2**12, 2**11], [0, 0], [0, 0], a_elements=1, b_elements=1)
    with pytest.raises(ValueError, match="argument"):
        pair_axes([2], [0, 0], [0], a_elements=1, b_elements=1)


@given(st.data())
def test_axes_read_what_is_there_and_no_more(data):
    number = st.integers(1, 4)
    lengths = data.draw(st.lists(number, min_size=1, max_size=4))
    strides = data.draw(st.lists(number, min_size=len(lengths), max_size=len(lengths)))
    first = data.draw(number)
    grid = np.indices(lengths).reshape(len(lengths), -1)
    touched = first + np.array(strides) @ grid
    arguments = (lengths, [0] * len(lengths), strides)
    rest = {"a_elements": 1, "b_elements": int(touched.max()) + 1, "b_first": first}
    try:
        copy_axes(*arguments, **rest)
    except ValueError as error:
        # More is refused than has to be.
        assert "one place" in str(error)
    else:
        assert len(set(touched.tolist())) == touched.size
        with pytest.raises(ValueError, match="leave a row"):
            copy_axes(*arguments, **{**rest, "b_elements": rest["b_elements"] - 1})


def test_positions():
    positions = take_positions([2, 0, 2], 3)
    assert positions.dtype == np.int32 and positions.tolist() == [2, 0, 2]
    assert take_positions([], 0).shape == (0,)
    for wrong, length in (([3], 3), ([-1], 3), ([0], 0), ([0], 2**22 + 1)):
        with pytest.raises(ValueError, match="are not all of an axis"):
            take_positions(wrong, length)


def test_ranges_of_ids():
    plain = Table(name="a", rows=5, dim=1)
    signed = Table(name="b", rows=2**31 - 1, dim=1, slots=2, signed=True, padded=True)
    ranges = id_ranges([plain, signed])
    assert ranges.lowest.dtype == np.int32 and ranges.counts.dtype == np.uint32
    assert ranges.lowest.tolist() == [0, 1 - 2**31, 1 - 2**31]
    assert ranges.counts.tolist() == [5, 2**32 - 2, 2**32 - 2]
    assert ranges.padded.dtype == np.uint32 and ranges.padded.tolist() == [0, 1, 1]
    assert id_ranges([]).lowest.shape == (0,)
    with pytest.raises(ValueError, match="needs slots"):
        id_ranges([Table(name="c", rows=2**31, dim=1)])

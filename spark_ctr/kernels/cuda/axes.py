"""Loops over two arrays, for pairs of operands and copies, and positions of a take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MOST_AXES = 8
# struct Axes of gpu/axes.h.
AXES = np.dtype(
    [
        *[(name, "<i4") for name in ("count", "total", "a_first", "b_first")],
        *[(name, "<i4", MOST_AXES) for name in ("length", "a", "b")],
    ]
)
# A value of a packed program has no more elements a row.
_MOST_ELEMENTS = 1 << 22


def pair_axes(
    lengths: Sequence[int],
    a: Sequence[int],
    b: Sequence[int],
    *,
    a_elements: int,
    b_elements: int,
) -> np.ndarray:
    """Check and prepare the loop of ``pair_float32``: nothing else will be read.

    Parameters
    ----------
    lengths : sequence of int
        Lengths of the axes of the result, without that of the rows.
    a, b : sequence of int
        Elements from one position of an axis to the next in either operand, 0 where it repeats.
    a_elements, b_elements : int
        Elements of a row of either operand, or of a constant.

    Returns
    -------
    ndarray [1], AXES
        ``total`` is the number of elements of a row of the result.

    Raises
    ------
    ValueError
        If there are more than 8 axes or 2**22 elements, or the loop leaves an operand.
    """
    return _prepared(lengths, (a, b), (0, 0), (a_elements, b_elements))


def copy_axes(
    lengths: Sequence[int],
    a: Sequence[int],
    b: Sequence[int],
    *,
    a_elements: int,
    b_elements: int,
    a_first: int = 0,
    b_first: int = 0,
) -> np.ndarray:
    """Check and prepare the loop of ``copy_float32``: nothing else will be read or written.

    Parameters
    ----------
    lengths : sequence of int
        Lengths of the axes, without that of the rows.
    a, b : sequence of int
        Elements from one position of an axis to the next, in what is copied and in the result.
    a_elements, b_elements : int
        Elements of a row of either.
    a_first, b_first : int
        The first element of either.

    Returns
    -------
    ndarray [1], AXES
        ``total`` is the number of elements of a row that are copied.

    Raises
    ------
    ValueError
        If there are more than 8 axes or 2**22 elements, the loop leaves an array, or two elements
        may go to one place.
    """
    prepared = _prepared(lengths, (a, b), (a_first, b_first), (a_elements, b_elements))
    reach = 0
    for stride, length in sorted(zip(b, lengths, strict=True)):
        if length > 1 and stride <= reach and prepared["total"]:
            raise ValueError(f"strides {b} of axes {lengths} have two elements at one place")
        reach += (length - 1) * stride
    return prepared


def take_positions(positions: Sequence[int], length: int) -> np.ndarray:
    """Check and prepare the positions of ``take_float32``.

    Parameters
    ----------
    positions : sequence of int
    length : int
        Length of the axis.

    Returns
    -------
    ndarray [len(positions)], int32

    Raises
    ------
    ValueError
        If the axis has no such position.
    """
    if not all(0 <= position < length <= _MOST_ELEMENTS for position in positions):
        raise ValueError(f"positions {positions} are not all of an axis of {length}")
    return np.array(positions, np.int32)


def _prepared(
    lengths: Sequence[int],
    strides: tuple[Sequence[int], Sequence[int]],
    firsts: tuple[int, int],
    elements: tuple[int, int],
) -> np.ndarray:
    axes = list(zip(lengths, *strides, strict=True))
    total = math.prod(lengths)
    if any(number < 0 for axis in axes for number in axis) or total > _MOST_ELEMENTS:
        raise ValueError(f"axes {axes} have more than {_MOST_ELEMENTS} elements, or negative ones")
    for stride, first, most in zip(strides, firsts, elements, strict=True):
        last = first + sum((n - 1) * s for n, s in zip(lengths, stride, strict=True))
        if total and not 0 <= first <= last < most <= _MOST_ELEMENTS:
            raise ValueError(
                f"axes {lengths} of strides {stride} from element {first} on leave a row of {most} "
                f"elements, or it has more than {_MOST_ELEMENTS}"
            )
    # Axes of one position say nothing, and their strides may be anything.
    axes = [axis for axis in axes if axis[0] != 1] if total else []
    if len(axes) > MOST_AXES:
        raise ValueError(f"{len(axes)} axes are more than {MOST_AXES}")
    prepared = np.zeros(1, AXES)
    # At least one axis, which is the one that is not divided by.
    prepared["count"], prepared["total"] = max(len(axes), 1), total
    prepared["a_first"], prepared["b_first"] = firsts if total else (0, 0)
    for i, axis in enumerate(axes):
        for name, number in zip(("length", "a", "b"), axis, strict=True):
            prepared[name][0, i] = number
    return prepared

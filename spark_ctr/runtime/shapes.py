"""Shapes of the values of a program, with a symbol for the number of rows."""

from __future__ import annotations

import math
from itertools import zip_longest

# Length of the first axis of a value that has a part for each row of data. The shapes of
# constants are without it.
BATCH = -1
# Elements of a value for a row of data.
MOST_ELEMENTS = 1 << 22

Shape = tuple[int, ...]


def of_rows(shape: Shape) -> Shape:
    """Return the shape of an operand that must have a part for each row, and be no constant.

    Raises
    ------
    ValueError
    """
    if shape[:1] != (BATCH,):
        raise ValueError(f"an operand of shape {text(shape)} has no rows")
    return shape


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape of what is combined element by element, by NumPy's rule.

    Raises
    ------
    ValueError
        If the shapes do not fit whatever the number of rows.
    """
    pairs = list(zip_longest(reversed(a), reversed(b), fillvalue=1))
    if any(x != y and 1 not in (x, y) for x, y in pairs):
        raise ValueError(f"shapes {text(a)} and {text(b)} do not fit")
    return tuple(y if x == 1 else x for x, y in reversed(pairs))


def checked(shape: Shape) -> Shape:
    """Return the shape of a result if it has its rows first, and not too many elements.

    Raises
    ------
    ValueError
    """
    if shape[:1] != (BATCH,) or BATCH in shape[1:]:
        raise ValueError(f"a result of shape {text(shape)} has not its rows first")
    if math.prod(shape[1:]) > MOST_ELEMENTS or len(shape) > 8:
        raise ValueError(f"a result of shape {text(shape)} is too large")
    return shape


def text(shape: Shape) -> str:
    """Return a shape as messages show it."""
    return "[" + ", ".join("B" if n == BATCH else str(n) for n in shape) + "]"

"""Which ids are valid, as ``check_ids`` reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_MOST_ROWS = 2**31 - 1


class IdColumn(Protocol):
    """What is read of a categorical column, such as a `spark_ctr.tables.Table`."""

    @property
    def rows(self) -> int:
        """Rows of its table."""

    @property
    def slots(self) -> int:
        """How many ids it has in a row of data."""

    @property
    def signed(self) -> bool:
        """Whether an id may be negative."""

    @property
    def padded(self) -> bool:
        """Whether an id may be PADDING."""


@dataclass(frozen=True)
class IdRanges:
    """The valid ids of each slot of a row of data.

    Parameters
    ----------
    lowest : ndarray [slots], int32
    counts : ndarray [slots], uint32
        How many ids are valid from the lowest one on.
    padded : ndarray [slots], uint32
        1 where PADDING is valid too, else 0.
    """

    lowest: np.ndarray
    counts: np.ndarray
    padded: np.ndarray


def id_ranges(columns: Iterable[IdColumn]) -> IdRanges:
    """Prepare the check of ids.

    Parameters
    ----------
    columns : iterable of IdColumn
        In the order in which their slots stand in a row of ids.

    Returns
    -------
    IdRanges

    Raises
    ------
    ValueError
        If a column has no rows, more than 2**31 - 1 of them, or no slots.
    """
    slots = []
    for column in columns:
        if not 1 <= column.rows <= _MOST_ROWS or column.slots < 1:
            raise ValueError(f"{column} needs slots, and 1 to {_MOST_ROWS} rows")
        lowest = -column.rows if column.signed else 0
        slots += [(lowest, column.rows - lowest, column.padded)] * column.slots
    types = (np.int32, np.uint32, np.uint32)
    return IdRanges(*(np.array([slot[i] for slot in slots], t) for i, t in enumerate(types)))

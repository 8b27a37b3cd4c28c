"""Histogram of the value counts of one categorical column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


def _suffix_sum(terms: np.ndarray) -> np.ndarray:
    """Return s with s[j] = sum(terms[j:])."""
    return np.cumsum(terms[::-1])[::-1]


@dataclass(frozen=True, eq=False)
class CountHistogram:
    """How many values of a column occur how often (the "count of counts").

    Parameters
    ----------
    values : int64 array, shape (U,)
        Distinct counts v_j >= 1, strictly increasing: the numbers of rows a value occurs in.
    multiplicities : int64 array, shape (U,)
        c_j >= 1: how many column values occur exactly v_j times.

    Raises
    ------
    ValueError
        If the arrays differ in length, are not positive whole numbers, or the counts are not
        strictly increasing.
    """

    values: np.ndarray
    multiplicities: np.ndarray

    def __post_init__(self) -> None:
        """Cast to int64 and validate."""
        for field in ("values", "multiplicities"):
            given = np.asarray(getattr(self, field))
            whole = given.astype(np.int64)
            if given.ndim != 1 or np.any(whole != given) or np.any(whole < 1):
                raise ValueError(f"CountHistogram.{field} must be a 1-d array of integers >= 1")
            object.__setattr__(self, field, whole)
        if len(self.values) != len(self.multiplicities):
            raise ValueError(
                f"CountHistogram needs one multiplicity per count: got {len(self.values)} counts "
                f"and {len(self.multiplicities)} multiplicities"
            )
        if np.any(np.diff(self.values) <= 0):
            raise ValueError("CountHistogram.values must be strictly increasing; use from_counts")

    @classmethod
    def from_counts(cls, counts: Iterable[int] | np.ndarray) -> CountHistogram:
        """Build the histogram from one count (int >= 1) per column value."""
        array = counts if isinstance(counts, np.ndarray) else list(counts)
        values, multiplicities = np.unique(np.asarray(array), return_counts=True)
        return cls(values, multiplicities)

    @property
    def n(self) -> int:
        """Number of distinct column values."""
        return int(self.multiplicities.sum())

    @property
    def total(self) -> int:
        """Number of rows: sum of all counts."""
        return int((self.values * self.multiplicities).sum())

    @cached_property
    def tail_values(self) -> np.ndarray:
        """N_j, int64, shape (U,): column values with count >= v_j."""
        return _suffix_sum(self.multiplicities)

    @cached_property
    def tail_rows(self) -> np.ndarray:
        """Rows held by column values with count >= v_j, int64, shape (U,)."""
        return _suffix_sum(self.values * self.multiplicities)

    @cached_property
    def tail_logs(self) -> np.ndarray:
        """S_j = sum of c ln v over counts >= v_j, float64, shape (U,)."""
        return _suffix_sum(self.multiplicities * np.log(self.values))

    def values_at_least(self, count: int) -> int:
        """Return the number of column values that occur in at least `count` rows."""
        j = np.searchsorted(self.values, count)
        return int(self.tail_values[j]) if j < len(self.values) else 0

    def to_dict(self) -> dict[str, list[int]]:
        """Return a JSON-able dictionary."""
        return {
            "values": self.values.tolist(),
            "multiplicities": self.multiplicities.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CountHistogram:
        """Inverse of `to_dict`."""
        return cls(
            np.asarray(data["values"], dtype=np.int64),
            np.asarray(data["multiplicities"], dtype=np.int64),
        )

    def __eq__(self, other: object) -> bool:
        """Equal counts with equal multiplicities."""
        if not isinstance(other, CountHistogram):
            return NotImplemented
        return np.array_equal(self.values, other.values) and np.array_equal(
            self.multiplicities, other.multiplicities
        )

    def __hash__(self) -> int:
        """Hash consistent with equality."""
        return hash((self.values.tobytes(), self.multiplicities.tobytes()))

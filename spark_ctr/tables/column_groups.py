"""Which columns determine one another, so that mixed rows must keep them together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from spark_ctr.tables.inputs import Inputs

# Numbers of more values than this are cut into so many bins.
_BINS = 64
# What fewer rows say is chance.
_LEAST_ROWS = 10


def column_groups(
    ids: np.ndarray, numeric: np.ndarray, inputs: Inputs, threshold: float = 0.75
) -> list[list[str]]:
    """Group columns such that columns which determine one another are in one group.

    Column a determines b where ``tau = (within - base) / (1 - base)`` reaches the threshold:
    ``within`` is the chance that two rows with one value of a have one value of b, ``base`` that
    any two rows have. Both are counted over pairs of different rows, so that tau of independent
    columns is 0 in the mean, however many values they have. A column determines nothing where its
    values do not repeat, and nothing determines a column with one value; less than ten rows that
    have a repeated value of a and another than the commonest value of b say nothing either.

    Parameters
    ----------
    ids : ndarray of int, [n, inputs.ids_width]
        Rows of a sample; the ids of a column of several slots are one value.
    numeric : ndarray of float, [n, M]
        Each by its values, or by 64 bins of equal frequency where it has more values.
    inputs : Inputs
    threshold : float
        In (0, 1].

    Returns
    -------
    list of list of str
        Names of columns; each is in one group, groups and names in the order of the inputs. Columns
        of one name, categorical and numeric, are together and named once.

    Raises
    ------
    ValueError
        If the arrays have other shapes than the inputs say, or the threshold is out of range.
    """
    expected = (len(ids), inputs.ids_width), (len(ids), len(inputs.numeric))
    if (ids.shape, numeric.shape) != expected:
        raise ValueError(
            f"ids and numeric have shapes {ids.shape} and {numeric.shape}; the columns need "
            f"{expected[0]} and {expected[1]}"
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], not {threshold}")
    columns = [(name, _Column(values)) for name, values in _values(ids, numeric, inputs)]
    parent = {name: name for name, _ in columns}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for (a, left), (b, right) in combinations(columns, 2):
        if root(a) != root(b) and max(_taus(left, right)) >= threshold:
            parent[root(b)] = root(a)
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    return list(groups.values())


def _values(
    ids: np.ndarray, numeric: np.ndarray, inputs: Inputs
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and codes [n] of each column."""
    at = 0
    for table in inputs.tables:
        slots = ids[:, at : at + table.slots]
        at += table.slots
        whole = (
            slots[:, 0] if table.slots == 1 else np.unique(slots, axis=0, return_inverse=True)[1]
        )
        yield table.name, whole.reshape(-1)
    for j, name in enumerate(inputs.numeric):
        numbers = numeric[:, j]
        values = np.unique(numbers)
        if len(values) > _BINS:
            edges = np.quantile(numbers, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
            numbers = np.searchsorted(np.unique(edges), numbers)
        yield name, numbers


class _Column:
    """Codes [n] from 0, and the count of each [values]."""

    def __init__(self, values: np.ndarray) -> None:
        _, self.codes, self.counts = np.unique(values, return_inverse=True, return_counts=True)

    @property
    def pairs(self) -> int:
        """Ordered pairs of rows that have one value."""
        return _pairs(self.counts)


def _pairs(counts: np.ndarray) -> int:
    counts = counts.astype(np.int64)
    return int((counts * (counts - 1)).sum())


def _taus(a: _Column, b: _Column) -> tuple[float, float]:
    """Return how far a determines b, and b determines a: 1 wholly, 0 in the mean by chance."""
    codes = a.codes.astype(np.int64) * len(b.counts) + b.codes
    together = _pairs(np.unique(codes, return_counts=True)[1])
    return _tau(a, b, together), _tau(b, a, together)


def _tau(a: _Column, b: _Column, together: int) -> float:
    if not len(b.counts):
        return 0.0
    telling = (a.counts[a.codes] > 1) & (b.codes != b.counts.argmax())
    if telling.sum() < _LEAST_ROWS:
        return 0.0
    n = len(b.codes)
    base = b.pairs / (n * (n - 1))
    return (together / a.pairs - base) / (1 - base)

"""Private rows granted step by step over all columns, the most gain first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .columns import ColumnStats, embedding_dimension
from .fit import PowerLawFit
from .gain import information
from .histogram import CountHistogram

Unit = Literal["rows", "bytes"]
_BYTES_PER_WEIGHT = 4


@dataclass
class Path:
    """One column's cuts from the highest count down; position 0 grants nothing private.

    Attributes
    ----------
    stats : ColumnStats
    fit : PowerLawFit or None
        None unless acceptable.
    small : bool
        Whether values below the least count may be granted too.
    cuts : int64 array, shape (S + 1,)
        Frequency cut at each position.
    worth : float64 array, shape (S,)
        Occurrences gained per private row by each step, descending.
    head, tail, buckets : arrays, shape (S + 1,)
        Private rows, expected distinct values beyond the cut, hashed rows.
    position : int
        What is granted.
    """

    stats: ColumnStats
    fit: PowerLawFit | None
    small: bool
    cuts: np.ndarray
    worth: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    buckets: np.ndarray
    position: int = field(default=0)

    @property
    def coverage(self) -> np.ndarray:
        """Share of the non-missing rows whose value has a private row, float64, (S + 1,)."""
        hist = self.stats.histogram
        return np.append(hist.tail_rows, 0)[np.searchsorted(hist.values, self.cuts)] / hist.total

    def cost(self, unit: Unit, scale: float) -> np.ndarray:
        """Rows, or bytes of float32 weights, at each position, int64, (S + 1,)."""
        rows = 1 + self.head + self.buckets
        if unit == "rows":
            return rows
        dimension = np.array([embedding_dimension(int(r), scale) for r in rows], dtype=np.int64)
        return _BYTES_PER_WEIGHT * rows * dimension


def _tail_values(
    hist: CountHistogram, fit: PowerLawFit | None, cuts: np.ndarray, least: int
) -> np.ndarray:
    """Return the (expected) number of column values with least <= count < cut, per cut."""

    def at_least(count: np.ndarray) -> np.ndarray:
        index = np.searchsorted(hist.values, count)
        observed = np.append(hist.tail_values, 0)[index].astype(float)
        if fit is None:
            return observed
        return np.where(count >= fit.xmin, fit.n_tail * fit.survival(count), observed)

    return np.maximum(at_least(np.array([least])) - at_least(cuts), 0.0)


def path(
    stats: ColumnStats,
    fit: PowerLawFit | None,
    min_count: int,
    whole_below: int,
    tail_loading: float,
) -> Path:
    """Return the steps in which a column's values can be granted; see `select_columns`."""
    hist = stats.histogram
    average = hist.total / hist.n
    # the average must reach min_count, else a short log's identifiers would pass as small
    small = hist.n <= whole_below and average >= min_count
    cuts = hist.values[::-1]
    if not small:
        cuts = cuts[cuts >= min_count]
    worth = cuts.astype(float)
    cuts = np.concatenate([[hist.values[-1] + 1], cuts])
    head = np.append(hist.tail_values, 0)[np.searchsorted(hist.values, cuts)]
    tail = np.where(head == hist.n, 0.0, _tail_values(hist, fit, cuts, 1))
    buckets = np.ones_like(head)
    if tail_loading > 0:
        wanted = np.ceil(_tail_values(hist, fit, cuts, 2) / tail_loading).astype(np.int64)
        buckets = np.maximum(1, np.minimum(head, wanted))
    return Path(stats, fit, small, cuts, worth, head, tail, buckets)


def grant(paths: Sequence[Path], budget: int, unit: Unit, scale: float, min_gain: float) -> None:
    """Take steps of all columns in order of gain, up to the first that overruns the budget.

    Parameters
    ----------
    paths : sequence of Path
        Their positions are advanced.
    budget : int
        In `unit`; must pay for position 0 of every path.
    unit : {"rows", "bytes"}
    scale : float
        Passed to `embedding_dimension`.
    min_gain : float
        Values that cannot gain so much, for all that is known of their column, are not granted.
    """
    names = {p.stats.name: i for i, p in enumerate(paths)}
    told = information([p.stats for p in paths])
    gains = [told[name] for name in names]
    partner = [names.get(gain.partner or "", -1) for gain in gains]
    # lists, as the loop reads single numbers
    worth = [p.worth.tolist() for p in paths]
    costs = [np.diff(p.cost(unit, scale)).tolist() for p in paths]
    coverage = [p.coverage.tolist() for p in paths]
    left = budget - sum(int(p.cost(unit, scale)[0]) for p in paths)

    def key(i: int) -> tuple[bool, float, int, str]:
        at, beside = paths[i].position, partner[i]
        covered = coverage[beside][paths[beside].position] if beside >= 0 else 0.0
        given_up = worth[i][at] * gains[i].most(covered) < min_gain
        return given_up, -worth[i][at] * gains[i].rate(covered), costs[i][at], paths[i].stats.name

    keys = {i: key(i) for i in range(len(paths)) if worth[i]}
    while keys:
        best = min(keys, key=lambda i: keys[i])
        if keys[best][0]:
            return
        # the first overrun ends it, so that more budget only ever extends what less has bought
        left -= keys[best][2]
        if left < 0:
            return
        paths[best].position += 1
        if paths[best].position == len(worth[best]):
            del keys[best]
        for i in keys:
            if i == best or partner[i] == best:
                keys[i] = key(i)

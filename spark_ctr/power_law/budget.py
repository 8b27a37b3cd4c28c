"""Which columns to keep, and how many embedding rows each one gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .columns import ColumnDecision, ColumnStats, embedding_dimension
from .fit import MAX_KS, MIN_TAIL, PowerLawFit
from .histogram import CountHistogram


@dataclass
class _Path:
    """One column's cuts from the highest count down; position 0 grants nothing private."""

    stats: ColumnStats
    fit: PowerLawFit | None
    small: bool
    cuts: np.ndarray  # (S+1,) frequency cut at each position
    worth: np.ndarray  # (S,) occurrences gained per private row by each step
    head: np.ndarray  # (S+1,)
    tail: np.ndarray  # (S+1,) expected distinct values beyond the cut
    buckets: np.ndarray  # (S+1,)
    position: int = field(default=0)


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


def _path(
    stats: ColumnStats,
    fit: PowerLawFit | None,
    min_count: int,
    whole_below: int,
    tail_loading: float,
) -> _Path:
    hist = stats.histogram
    average = hist.total / hist.n
    # the average must reach min_count, else a short log's identifiers would pass as small
    small = hist.n <= whole_below and average >= min_count
    cuts = hist.values[::-1]
    worth = cuts.astype(float)
    if small:
        # rare values of a small column come in one step, worth what its average row is worth
        cuts = np.append(cuts[cuts > average], 1)
        worth = np.append(cuts[:-1].astype(float), average)
    else:
        cuts, worth = cuts[cuts >= min_count], worth[cuts >= min_count]
    cuts = np.concatenate([[hist.values[-1] + 1], cuts])
    head = np.append(hist.tail_values, 0)[np.searchsorted(hist.values, cuts)]
    recurring = _tail_values(hist, fit, cuts, 2)
    tail = np.where(head == hist.n, 0.0, _tail_values(hist, fit, cuts, 1))
    wanted = np.ceil(recurring / tail_loading).astype(np.int64)
    return _Path(
        stats, fit, small, cuts, worth, head, tail, np.maximum(1, np.minimum(head, wanted))
    )


def _advance(paths: Sequence[_Path], row_budget: int) -> None:
    """Take the longest affordable prefix of all columns' steps, in order of worth."""
    if not paths:
        return
    costs = [np.diff(p.head + p.buckets) for p in paths]
    column = np.repeat(np.arange(len(paths)), [len(c) for c in costs])
    names = np.argsort(np.argsort([p.stats.name for p in paths], kind="stable"))
    worth, cost = np.concatenate([p.worth for p in paths]), np.concatenate(costs)
    order = np.lexsort((names[column], cost, -worth))
    # a prefix that ends at the first overrun, so that more budget only ever extends it
    over = 2 * len(paths) + np.cumsum(cost[order]) > row_budget
    granted = order[: int(np.argmax(over))] if over.any() else order
    for position, count in enumerate(np.bincount(column[granted], minlength=len(paths))):
        paths[position].position = int(count)


def _drop_reason(stats: ColumnStats, min_relevance: float) -> str:
    hist = stats.histogram
    if hist.n == 0 or hist.n + (stats.missing > 0) < 2:
        return "the column has fewer than two distinct values"
    if hist.values[-1] == 1 and stats.missing == 0:
        return "every row has its own value, so no value can be learned"
    if stats.relevance is not None and not stats.relevance >= min_relevance:
        return f"relevance {stats.relevance:.2g} is below min_relevance {min_relevance:g}"
    return ""


def _dropped(stats: ColumnStats, accepted: bool, reason: str) -> ColumnDecision:
    values = stats.histogram.values
    cut = int(values[-1]) + 1 if len(values) else 1
    return ColumnDecision(stats.name, "drop", cut, 0, 0, 0, 0.0, 0.0, accepted, reason)


def _decide(path: _Path, max_ks: float, min_tail: int, scale: float) -> ColumnDecision:
    stats, hist, at = path.stats, path.stats.histogram, path.position
    head, buckets, cut = int(path.head[at]), int(path.buckets[at]), int(path.cuts[at])
    tail = float(path.tail[at])
    whole = head == hist.n
    covered = np.append(hist.tail_rows, 0)[np.searchsorted(hist.values, cut)]
    # V values in m buckets: V - m (1 - (1 - 1/m)^V)
    used = buckets * -math.expm1(tail * math.log1p(-1 / buckets)) if buckets > 1 else min(tail, 1)
    if whole:
        why = "small column" if path.small else "every value fits the budget"
    elif head == 0:
        why = "no value reaches the cut, everything is hashed"
    else:
        why = f"values seen {cut} times or more get private rows"
    if path.fit is not None:
        fit = f"power law alpha {path.fit.alpha:.2f} from xmin {path.fit.xmin}"
        if not whole:
            fit += " sizes the tail" if cut > path.fit.xmin else " (cut below xmin: counts as seen)"
    elif stats.fit is None:
        fit = "no power-law fit, counts as seen"
    elif stats.fit.n_tail < min_tail:
        fit = f"power law on {stats.fit.n_tail} < {min_tail} tail values, counts as seen"
    else:
        fit = f"power law rejected, KS {stats.fit.ks_distance:.3f} > {max_ks:g}, counts as seen"
    return ColumnDecision(
        name=stats.name,
        decision="keep_whole" if whole else "head_and_tail",
        min_count=1 if whole else cut,
        head_rows=head,
        buckets=buckets,
        dimension=embedding_dimension(1 + head + buckets, scale),
        coverage=float(covered / hist.total),
        expected_collisions=max(0.0, tail - used),
        fit_accepted=path.fit is not None,
        reason=f"{why}; {fit}",
    )


def select_columns(
    columns: Sequence[ColumnStats],
    row_budget: int,
    *,
    min_relevance: float = 0.0,
    min_count: int = 2,
    whole_below: int = 100,
    tail_loading: float = 4.0,
    max_ks: float = MAX_KS,
    min_tail: int = MIN_TAIL,
    dimension_scale: float = 1.0,
) -> list[ColumnDecision]:
    """Divide a budget of embedding rows over the columns of a click log.

    This project's own rule:

    1. Drop a column with fewer than two distinct values (missing counts as one), with no value
       that repeats, or with relevance below `min_relevance`.
    2. Every other column starts with two rows: missing, and one bucket so that unseen values
       have a place.
    3. A private row for a value seen v times saves v occurrences from the buckets. One threshold
       on that gain, the Lagrange multiplier of the budget, holds for all columns: values are
       granted from the most frequent down until the next step would overrun the budget. Values
       below `min_count` are never granted. In a column of at most `whole_below` values that
       average `min_count` rows, the rare values are granted together at their column's average.
    4. Buckets: one per `tail_loading` values beyond the cut that were seen at least twice, never
       more than the private rows, at least one. Values seen once are as good as unseen, so an
       identifier column gets no buckets for them.
    5. Where the power-law fit is acceptable (n_tail >= `min_tail` and KS distance <= `max_ks`),
       the number of values beyond the cut is the fitted one from xmin up; elsewhere, and below
       xmin, it is the number seen.

    The result does not depend on the order of the columns, never exceeds the budget, and a larger
    budget never lowers any column's coverage.

    Parameters
    ----------
    columns : sequence of ColumnStats
        Names must differ.
    row_budget : int
        Embedding rows over all columns, at least two per kept column.
    min_relevance : float
        Share of the label's entropy. The default drops no column for it: columns that tell nothing
        alone may decide the label together, as the two inputs of an exclusive or do.
    min_count, whole_below : int
        See 3.
    tail_loading : float
        Tail values per bucket, >= 1.
    max_ks, min_tail : float, int
        When a fit is acceptable.
    dimension_scale : float
        Passed to `embedding_dimension`.

    Returns
    -------
    list of ColumnDecision
        In the order of `columns`.

    Raises
    ------
    ValueError
        If the budget cannot give two rows to each kept column, names repeat, or a parameter is
        out of range.
    """
    if len({c.name for c in columns}) != len(columns):
        raise ValueError("select_columns: column names must differ")
    if min_count < 1 or whole_below < 0 or not tail_loading >= 1:
        raise ValueError("select_columns needs min_count >= 1, whole_below >= 0, tail_loading >= 1")
    dropped, paths = {}, {}
    for stats in columns:
        acceptable = stats.fit is not None and stats.fit.acceptable(max_ks, min_tail)
        fit = stats.fit if acceptable else None
        reason = _drop_reason(stats, min_relevance)
        if reason:
            dropped[stats.name] = _dropped(stats, fit is not None, reason)
        else:
            paths[stats.name] = _path(stats, fit, min_count, whole_below, tail_loading)
    if row_budget < 2 * len(paths):
        raise ValueError(
            f"row_budget {row_budget} is too small: the {len(paths)} kept columns need two rows "
            f"each; raise row_budget to {2 * len(paths)} or more, or raise min_relevance"
        )
    _advance(list(paths.values()), row_budget)
    return [
        dropped[c.name]
        if c.name in dropped
        else _decide(paths[c.name], max_ks, min_tail, dimension_scale)
        for c in columns
    ]

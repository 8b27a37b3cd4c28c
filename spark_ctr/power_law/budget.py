"""Which columns to keep, and how many embedding rows each one gets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .columns import ColumnDecision, ColumnStats, embedding_dimension
from .fit import MAX_KS, MIN_TAIL
from .grants import Path, Unit, grant, path

# A column is dropped as noise only where effects on the logit of this variance would have shown:
# they explain this times p (1 - p) of the label's variance, 2 % of an even label's.
_NEGLIGIBLE = 0.08
# Estimating a value's rate costs 1 in the same unit; embeddings shrink, so less than that pays.
MIN_GAIN = 0.1


def _drop_reason(stats: ColumnStats, min_relevance: float) -> str:
    hist, joint = stats.histogram, stats.joint
    if hist.n == 0 or hist.n + (stats.missing > 0) < 2:
        return "the column has fewer than two distinct values"
    if hist.values[-1] == 1 and stats.missing == 0:
        return "every row has its own value, so no value can be learned"
    # a sample that can show nothing is no measure of what the column says beside others
    if stats.relevance is not None and not (joint is not None and joint.detectable >= 1):
        relevance = max(stats.relevance, joint.share if joint is not None else 0.0)
        if not relevance >= min_relevance:
            return f"relevance {relevance:.2g} is below min_relevance {min_relevance:g}"
    return ""


def _noise(stats: ColumnStats, max_p_value: float) -> str:
    joint = stats.joint
    if joint is None or stats.sure_relevance:
        return ""
    if joint.p_value <= max_p_value or joint.detectable > _NEGLIGIBLE * joint.variance:
        return ""
    return (
        "tells nothing about the label, alone or beside any other column "
        f"(p-value {joint.p_value:.2g})"
    )


def _undecided(stats: ColumnStats, max_p_value: float) -> str:
    """Return what to say of a column in which nothing was seen, but something could be."""
    joint = stats.joint
    if joint is None or stats.sure_relevance or joint.p_value <= max_p_value:
        return ""
    if joint.detectable >= 1:
        return "; not decided whether it tells anything: the sample can show no link"
    return (
        "; not decided whether it tells anything: the sample would have shown no share of the "
        f"label below {joint.detectable:.2g}"
    )


def alike(one: ColumnStats, other: ColumnStats) -> bool:
    """Whether two columns have equal counts, as copies of each other do."""
    return one.histogram == other.histogram and one.missing == other.missing


def _copy(stats: ColumnStats, columns: Sequence[ColumnStats]) -> str:
    copies = stats.joint.copies if stats.joint is not None else ()
    # the sample may have missed where they differ
    same = [other.name for other in columns if other.name in copies and alike(stats, other)]
    first = min([stats.name, *same])  # of all that are alike, the first by name stays
    return "" if first == stats.name else f"repeats column {first!r} value for value"


def _dropped(stats: ColumnStats, accepted: bool, reason: str) -> ColumnDecision:
    values = stats.histogram.values
    cut = int(values[-1]) + 1 if len(values) else 1
    return ColumnDecision(stats.name, "drop", cut, 0, 0, 0, 0.0, 0.0, accepted, reason)


def _decide(path: Path, max_ks: float, min_tail: int, scale: float, more: str) -> ColumnDecision:
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
        why = "no value earns a private row, everything is hashed"
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
        private=head,
        buckets=buckets,
        dim=embedding_dimension(1 + head + buckets, scale),
        coverage=float(covered / hist.total),
        expected_collisions=max(0.0, tail - used),
        fit_accepted=path.fit is not None,
        reason=f"{why}; {fit}{more}",
    )


def select_columns(
    columns: Sequence[ColumnStats],
    budget: int,
    *,
    unit: Unit = "rows",
    min_relevance: float = 0.0,
    max_p_value: float = 0.01,
    min_count: int = 2,
    min_gain: float = MIN_GAIN,
    whole_below: int = 100,
    tail_loading: float = 0.0,
    max_ks: float = MAX_KS,
    min_tail: int = MIN_TAIL,
    dimension_scale: float = 1.0,
) -> list[ColumnDecision]:
    """Divide a budget of embedding rows over the columns of a click log.

    This project's own rule:

    1. Drop a column with fewer than two distinct values (missing counts as one); with no value
       that repeats; that repeats another column value for value; whose link with the label, alone
       and beside any other column, may be chance (`joint.p_value` above `max_p_value`), unless it
       is surely not in the whole log, effects of 0.28 on the logit would have escaped the sample,
       or no column would be left; or with relevance, alone and beside another, below
       `min_relevance`. Where nothing could have been seen nothing is known, and a column is kept.
    2. Every other column starts with two rows: missing, and one bucket for all other values.
    3. A private row for a value seen v times saves v occurrences from the bucket. An occurrence is
       worth the label information that it holds on average in its column: what the column tells
       alone, and what it adds to its partner, as far as the partner's values have private rows
       (`information`). Values are granted in the order of that gain, over all columns, until the
       next step would overrun the budget, or a value gains less than `min_gain`, taking for its
       column the most that the log allows (`possible_relevance`): its row would surely learn more
       noise than signal. Where `relevance` is lacking in one column or `joint` in all,
       an occurrence is worth 1 in every column. Values below `min_count` are granted only in a
       column of at most `whole_below` values that average `min_count` rows. A column left without
       a private row, and without missing values, says nothing any more: it is dropped, unless no
       other is left.
    4. One bucket a column: a second one shares out occurrences that are worth less than a further
       private row takes. With `tail_loading` > 0, a bucket per so many values beyond the cut that
       were seen at least twice, never more than the private rows.
    5. Where the power-law fit is acceptable (n_tail >= `min_tail` and KS distance <= `max_ks`),
       the number of values beyond the cut is the fitted one from xmin up; elsewhere, and below
       xmin, it is the number seen.

    The result does not depend on the order of the columns, never exceeds the budget, and a larger
    budget never lowers any column's coverage.

    Parameters
    ----------
    columns : sequence of ColumnStats
        Names must differ.
    budget : int
        Over all columns, at least two rows per kept column.
    unit : {"rows", "bytes"}
        Embedding rows, or bytes of float32 weights: rows * dimension * 4.
    min_relevance : float
        Share of the label's entropy. The default drops no column for it.
    max_p_value : float
        The largest chance at which a link counts as real; 1 drops no column for it.
    min_count, whole_below : int
        See 3.
    min_gain : float
        Occurrences times the share of the label's variance that the column explains. By chance
        alone, a value seems to gain 1 in the rows it is estimated from.
    tail_loading : float
        Tail values per bucket, >= 1, or 0 for one bucket.
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
    if min_count < 1 or whole_below < 0 or not min_gain >= 0:
        raise ValueError("select_columns needs min_count >= 1, whole_below >= 0, min_gain >= 0")
    if not (tail_loading == 0 or tail_loading >= 1):
        raise ValueError("select_columns needs tail_loading 0 or >= 1")
    if unit not in ("rows", "bytes"):
        raise ValueError(f"select_columns: unit must be 'rows' or 'bytes', not {unit!r}")
    reasons = {c.name: _drop_reason(c, min_relevance) or _copy(c, columns) for c in columns}
    noise = {c.name: _noise(c, max_p_value) for c in columns if not reasons[c.name]}
    if not all(noise.values()):  # else a log in which nothing shows would be left without columns
        reasons |= noise
    dropped, paths = {}, {}
    for stats in columns:
        acceptable = stats.fit is not None and stats.fit.acceptable(max_ks, min_tail)
        fit = stats.fit if acceptable else None
        if reasons[stats.name]:
            dropped[stats.name] = _dropped(stats, fit is not None, reasons[stats.name])
        else:
            paths[stats.name] = path(stats, fit, min_count, whole_below, tail_loading)
    least = sum(int(p.cost(unit, dimension_scale)[0]) for p in paths.values())
    if budget < least:
        raise ValueError(
            f"the budget of {budget} {unit} is too small: the {len(paths)} kept columns need two "
            f"rows each; raise it to {least} or more, or raise min_relevance"
        )
    grant(list(paths.values()), budget, unit, dimension_scale, min_gain)
    nothing = [p for p in paths.values() if p.position == 0 and not p.stats.missing]
    if len(nothing) < len(paths):  # else a log would be left without columns
        for p in nothing:
            reason = "reduced to nothing: no value earns a private row, and none is missing"
            dropped[p.stats.name] = _dropped(p.stats, p.fit is not None, reason)
    return [
        dropped[c.name]
        if c.name in dropped
        else _decide(paths[c.name], max_ks, min_tail, dimension_scale, _undecided(c, max_p_value))
        for c in columns
    ]

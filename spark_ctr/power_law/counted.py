"""Counts of a column's values with the label, and what the selection rule reads from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import ColumnStats
from .fit import fit_discrete
from .growth import HORIZON, VocabularyGrowth, expected_unseen, vocabulary_growth
from .histogram import CountHistogram
from .joint import JointRelevance
from .relevance import label_relevance

SLICES = 20  # parts of the log, in its order, at whose ends the vocabulary is measured


@dataclass(frozen=True)
class Counted:
    """Joint histogram of one column's counted values, a row of each array a kind of value.

    Attributes
    ----------
    missing : bool array
        Whether the row stands for missing values.
    rows, labelled, positives : int64 array
        Of each value of the kind.
    first : int64 array
        The part of the log in which the values occur first.
    values : int64 array
        How many values are of the kind.
    """

    missing: np.ndarray
    rows: np.ndarray
    labelled: np.ndarray
    positives: np.ndarray
    first: np.ndarray
    values: np.ndarray


def column_stats(
    name: str,
    counted: Counted,
    min_count: int,
    labelled_only: bool,
    joint: JointRelevance | None,
) -> ColumnStats:
    """Histogram, fit and relevance of a column from its counted values."""
    size = counted.labelled if labelled_only else counted.rows
    present = ~counted.missing & (size > 0)
    counts, kind = np.unique(size[present], return_inverse=True)
    multiplicities = np.bincount(kind, counted.values[present], minlength=len(counts))
    histogram = CountHistogram(counts, multiplicities.astype(np.int64))
    head = counted.labelled >= min_count
    beyond = counted.values * ~head
    measured: dict[str, Any] = {
        "counts": counted.labelled[head],
        "positives": counted.positives[head],
        "values": counted.values[head],
        "tail_count": int((counted.labelled * beyond).sum()),
        "tail_positives": int((counted.positives * beyond).sum()),
    }
    missing = int((size * counted.values)[counted.missing].sum())
    labelled, positives = (
        int((rows * counted.values).sum()) for rows in (counted.labelled, counted.positives)
    )
    # labels of one class, or none, say nothing about any column
    telling = 0 < positives < labelled
    relevance, sure, possible = (
        label_relevance(**measured, z=z) if telling else None for z in (0.0, 3.0, -2.0)
    )
    return ColumnStats(
        name,
        histogram,
        missing,
        fit_discrete(histogram),
        relevance,
        joint,
        sure,
        possible,
    )


def column_growth(
    histogram: CountHistogram,
    counted: Counted,
    labelled_only: bool,
    parts: np.ndarray | None = None,
    horizon: float = HORIZON,
) -> VocabularyGrowth | None:
    """Growth of a column's vocabulary, in the log's order where it has one.

    Parameters
    ----------
    histogram : CountHistogram
    counted : Counted
    labelled_only : bool
        Whether only rows with a label count.
    parts : int array, shape (SLICES,), optional
        Rows of the log in each part, which ties may make unequal.
    horizon : float
        See `expected_unseen`.
    """
    if not len(histogram.values):
        return None
    held = np.zeros(0) if parts is None else np.cumsum(parts) / max(int(np.sum(parts)), 1)
    # whole parts, the last ones: as long as the horizon, but half of the log at most
    tails = 1 - np.append(0.0, held)
    cuts = np.flatnonzero((tails > 1e-12) & (tails <= 0.5))
    if not len(cuts) or histogram.total < SLICES:
        return vocabulary_growth(histogram)
    size = counted.labelled if labelled_only else counted.rows
    present = ~counted.missing & (size > 0)
    # values without an order count from the start
    first = np.where(counted.first[present] < SLICES, counted.first[present], 0)
    values = counted.values[present]
    new = np.bincount(first, values, minlength=SLICES)
    cut = int(cuts[np.argmin(np.abs(tails[cuts] - horizon))])
    tail = float(tails[cut])
    late = float((size[present] * values)[first >= cut].sum()) / (histogram.total * tail)
    unseen = expected_unseen(histogram, horizon, tail, late)
    rows = histogram.total * held
    distinct = np.minimum(np.cumsum(new), rows)
    told = (np.asarray(parts) > 0) & (distinct > 0)
    if (rows[told] >= rows[-1] / 2).sum() < 2:
        return vocabulary_growth(histogram, unseen_share=unseen)
    return vocabulary_growth(histogram, rows[told], distinct[told], unseen)

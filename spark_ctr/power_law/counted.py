"""Counts of a column's values with the label, and what the selection rule reads from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import ColumnStats
from .fit import fit_discrete
from .growth import VocabularyGrowth, vocabulary_growth
from .histogram import CountHistogram
from .joint import JointRelevance
from .relevance import label_relevance

SLICES = 20  # parts of the log, in its order, at whose ends the vocabulary is measured
_LAST = SLICES // 5  # of them, whose unseen values are counted


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
    return ColumnStats(
        name,
        histogram,
        missing,
        fit_discrete(histogram),
        label_relevance(**measured),
        joint,
        label_relevance(**measured, z=3.0),
    )


def column_growth(
    histogram: CountHistogram, counted: Counted, labelled_only: bool, ordered: bool
) -> VocabularyGrowth | None:
    """Growth of a column's vocabulary, in the log's order where it has one."""
    if not len(histogram.values):
        return None
    size = counted.labelled if labelled_only else counted.rows
    present = ~counted.missing & (size > 0)
    if not ordered or histogram.total < SLICES:
        return vocabulary_growth(histogram)
    # values without an order count from the start
    first = np.where(counted.first[present] < SLICES, counted.first[present], 0)
    values = counted.values[present]
    new = np.bincount(first, values, minlength=SLICES)
    # the parts are of equal size but for ties, so their rows need no count of their own
    rows = histogram.total * np.arange(1, SLICES + 1) / SLICES
    late = first >= SLICES - _LAST
    unseen = float((size[present] * values)[late].sum()) / (histogram.total * _LAST / SLICES)
    distinct = np.minimum(np.cumsum(new), rows)
    seen = distinct > 0
    if seen.sum() < 2:
        return vocabulary_growth(histogram)
    return vocabulary_growth(histogram, rows[seen], distinct[seen], min(unseen, 1.0))

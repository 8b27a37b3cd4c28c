"""The state of a saved PowerLawFeatureSelectorModel, checked."""

from __future__ import annotations

import json
from typing import Any

from spark_ctr.feature.selection_report import FACTS_SCHEMA, stats_of
from spark_ctr.power_law import CountHistogram
from spark_ctr.stage.saved_values import SavedValues

_KINDS = dict(part.split() for part in FACTS_SCHEMA.split(", "))
_DECISIONS = ("drop", "keep_whole", "head_and_tail")
_MOST = 2**63 - 1


def saved_selection(
    state: dict[str, Any], histograms: bytes
) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Return the facts of the columns, the histograms of their counts, and the invalid labels.

    Raises
    ------
    ValueError
        If a value is missing, of another kind or out of range, or values do not fit together.
    """
    saved = SavedValues(state, "the state")
    columns = saved.many("columns")
    try:
        counts = json.loads(histograms)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"histograms.json is damaged: {error}") from None
    for position, facts in enumerate(columns):
        _check_column(SavedValues(facts, f"column {position}"), facts)
    names = [facts["column"] for facts in columns]
    if not isinstance(counts, dict) or sorted(counts) != sorted(names):
        raise ValueError(f"histograms.json must be of the columns {names}")
    for facts in columns:
        _check_histogram(facts, counts[facts["column"]])
    return columns, counts, saved.whole("invalid", 0, _MOST)


def _check_column(column: SavedValues, facts: dict[str, Any]) -> None:
    column.text("column")
    least = 0 if column.text("decision", *_DECISIONS) == "drop" else 1
    column.whole("cut", 0, _MOST)
    column.whole("buckets", least, 1 << 30)
    column.whole("dimension", least, 1024)
    for name, kind in _KINDS.items():
        # What is not measured is None; an earlier version may not have known of it.
        if facts.get(name) is None:
            continue
        if kind == "string":
            column.text(name)
        elif kind == "double":
            column.number(name)
        else:
            column.whole(name, 0, _MOST)


def _check_histogram(facts: dict[str, Any], counts: Any) -> None:
    try:
        histogram = CountHistogram.from_dict(counts)
        stats_of(facts, counts)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"column {facts['column']!r}: {error}") from None
    if (histogram.n, histogram.total) != (facts.get("distinct"), facts.get("rows")):
        raise ValueError(
            f"column {facts['column']!r}: {facts.get('distinct')} values in {facts.get('rows')} "
            f"rows, but its histogram has {histogram.n} in {histogram.total}"
        )

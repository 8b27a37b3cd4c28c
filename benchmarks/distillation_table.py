"""Table of `benchmarks.distillation`: a row for each student and teacher, differences by seed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.frame import Record, markdown

CHOOSING = ", rows that choose the epoch"
MINUS = ", minus "
AUCTION = ", auction against "
_AGAINST = ("labels", "teacher")


def distillation_table(records: Sequence[Record]) -> str:
    """Return a table in Markdown for each log.

    After ± is the standard deviation over seeds, and of a difference its standard error: every
    seed's own student or teacher is subtracted. Of revenue and welfare the mean over seeds is told,
    with the mean bounds of the intervals over auctions.
    """
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        found[record.case, record.system, record.metric].append(record.value)
    logs = [case for case, _, metric in found if metric == "calibration ratio"]
    return "\n\n".join(_of_log(log, found) for log in dict.fromkeys(logs))


def _of_log(log: str, found: dict[tuple[str, str, str], list[float]]) -> str:
    names = list(dict.fromkeys(s for case, s, metric in found if (case, metric) == (log, "auc")))
    columns: dict[str, list[str]] = {log: names}
    for metric, head in (("auc", "AUC"), ("log_loss", "log loss")):
        columns[f"{head} ± sd"] = [spread(found[log, name, metric]) for name in names]
        for other in _AGAINST:
            case = f"{log}{MINUS}{other}"
            columns[f"{head} minus {other}'s ± se"] = [
                error(found[case, name, f"{metric} difference"]) for name in names
            ]
    columns["calibration"] = [mean(found[log, n, "calibration ratio"], "{:.3f}") for n in names]
    choosing = f"{log}{CHOOSING}"
    columns["AUC, choosing"] = [mean(found[choosing, n, "auc"], "{:.4f}") for n in names]
    for metric, head, form in (
        ("CPU time", "CPU time, s", "{:.0f}"),
        ("cost", "cost", "{:.2f}"),
        ("time per row", "µs a row", "{:.2f}"),
    ):
        columns[head] = [mean(found[log, name, metric], form) for name in names]
    for other in _AGAINST:
        case = f"{log}{AUCTION}{other}"
        for metric in ("revenue", "welfare"):
            bounds = [f"{metric}{bound}" for bound in ("", ", low", ", high")]
            columns[f"{metric} against {other}, %"] = [
                interval([found[case, name, bound] for bound in bounds]) for name in names
            ]
    return markdown({head: cells for head, cells in columns.items() if any(cells)})


def mean(values: Sequence[float], form: str) -> str:
    """Return the mean in a form; nothing without values."""
    return form.format(statistics.fmean(values)) if values else ""


def spread(values: Sequence[float]) -> str:
    """Return the mean, and the standard deviation of several values."""
    text = mean(values, "{:.5f}")
    return f"{text} ± {statistics.stdev(values):.5f}" if len(values) > 1 else text


def error(values: Sequence[float]) -> str:
    """Return the mean with its sign, and its standard error of several values."""
    text = mean(values, "{:+.5f}")
    if len(values) < 2:
        return text
    return f"{text} ± {statistics.stdev(values) / len(values) ** 0.5:.5f}"


def interval(parts: Sequence[Sequence[float]]) -> str:
    """Return the means of a value and of the bounds of its interval."""
    if not all(parts):
        return ""
    value, low, high = (statistics.fmean(values) for values in parts)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"

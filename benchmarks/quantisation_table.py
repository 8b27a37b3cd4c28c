"""The table of `benchmarks.quantisation`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from benchmarks.distillation_table import MINUS, error, mean, spread
from benchmarks.frame import Record, markdown

STUDENT = "student"


def quantisation_table(records: Sequence[Record]) -> str:
    """Return a table in Markdown for each log: means, standard deviations and errors over seeds."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        found[record.case, record.system, record.metric].append(record.value)
    logs = dict.fromkeys(case for case, _, metric in found if metric == "bytes")
    return "\n\n".join(_of_log(log, found) for log in logs)


def _of_log(log: str, found: Mapping[tuple[str, str, str], Sequence[float]]) -> str:
    names = list(dict.fromkeys(s for case, s, metric in found if (case, metric) == (log, "auc")))

    def column(metric: str, form: Callable[[Sequence[float]], str], case: str = log) -> list[str]:
        return [form(found.get((case, name, metric), ())) for name in names]

    less = f"{log}{MINUS}{STUDENT}"
    columns = {
        log: names,
        "seeds": column("auc", lambda values: str(len(values))),
        "AUC ± sd": column("auc", spread),
        "minus student's ± se": column("auc difference", error, less),
        "log loss ± sd": column("log_loss", spread),
        "minus the student's ± se": column("log_loss difference", error, less),
        "calibration": column("calibration ratio", lambda values: mean(values, "{:.3f}")),
        "1-bit layers": column("1-bit layers", lambda values: mean(values, "{:.1f}")),
        "bytes": column("bytes", lambda values: mean(values, "{:,.0f}")),
        "of tables": column("tables", lambda values: mean(values, "{:,.0f}")),
        "µs a row": column("time per row", lambda values: mean(values, "{:.2f}")),
        "CPU time, s": column("CPU time", lambda values: mean(values, "{:.0f}")),
    }
    return markdown(columns)

"""Share of coming rows with a value never seen: estimated from a log, and in the rows that came.

A log is cut in several places; estimates come from the rows before a cut, ``held-back tail`` is the
truth in the next quarter as many rows. ``spark_ctr`` is `column_growth` with an order, ``values
seen once`` is Good and Turing's estimate (ours without an order), ``last fifth`` is the share that
the last fifth of the log itself brought.

Logs: TalkingData's first 80,000 clicks in their order, cut at 30 % to 80 %, and draws of Zipf's law
in which a share of the values is replaced by new ones, at a moment of its own each, in the course
of the log, cut at 50 % and 80 %. ``error`` is the distance from the truth, cut by cut.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.frame import OURS, Record, run
from benchmarks.selection_logs import talking_data
from spark_ctr.power_law import Counted, CountHistogram, column_growth, expected_unseen
from spark_ctr.power_law.counted import SLICES

TRUTH, ONCE, LAST = "held-back tail", "values seen once", "last fifth"
CUTS, DRAWN_CUTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8), (0.5, 0.8)
# values, exponent of their law; shares of them that are replaced
DRAWN, TURNOVERS = ((50_000, 0.8), (5_000, 1.0)), (0.0, 0.2, 0.5, 1.0)
ROWS = 60_000


def estimates(values: np.ndarray) -> dict[str, float]:
    """Return each system's estimate from a column's values in the order of the log."""
    part = np.arange(len(values)) * SLICES // len(values)
    _, first, rows = np.unique(values, return_index=True, return_counts=True)
    kinds, number = np.unique([rows, part[first]], axis=1, return_counts=True)
    none = np.zeros(len(number), np.int64)
    counted = Counted(none > 0, kinds[0], none, none, kinds[1], number)
    histogram, parts = CountHistogram.from_counts(rows), np.bincount(part, minlength=SLICES)
    growth = column_growth(histogram, counted, False, parts)
    late = part[first] >= SLICES - SLICES // 5
    return {
        OURS: growth.unseen_share if growth is not None else float("nan"),
        ONCE: expected_unseen(histogram),
        LAST: float(rows[late].sum()) / parts[-(SLICES // 5) :].sum(),
    }


def drawn(values: int, exponent: float, turnover: float, seed: int) -> np.ndarray:
    """Draw ranks by Zipf's law; a replaced value's rank goes to a new one from its moment on."""
    rng = np.random.default_rng(seed)
    weights = np.arange(1, values + 1.0) ** -exponent
    rank = rng.choice(values, ROWS, p=weights / weights.sum())
    moment = rng.random(values) / max(turnover, 1e-9)
    return np.where(moment[rank] < np.arange(ROWS) / ROWS, rank + values, rank)


def measure_log(
    case: str, values: np.ndarray, cuts: tuple[float, ...], seed: int
) -> Iterator[Record]:
    """Measure one column at each cut."""
    for cut in cuts:
        end = int(cut * len(values))
        seen, later = values[:end], values[end : end + end // 4]
        truth = float((~np.isin(later, seen)).mean())
        for system, value in ({TRUTH: truth} | estimates(seen)).items():
            yield Record(case, system, "unseen share", value, "", seed)
            if system != TRUTH:
                yield Record(case, system, "error", abs(value - truth), "", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the real log once, and the drawn ones seed by seed."""
    log = talking_data()
    if isinstance(log, str):
        print(f"talkingdata is left out: {log}", file=sys.stderr)
    else:
        codes = np.concatenate([log.train, log.test])
        for name, values in zip(log.columns, codes.T, strict=True):
            yield from measure_log(f"talkingdata, {name}", values, CUTS, 0)
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    for number, exponent in DRAWN:
        for turnover in TURNOVERS:
            case = f"{number:,} values, exponent {exponent:g}, {turnover:.0%} replaced"
            for seed in seeds:
                values = drawn(number, exponent, turnover, seed)
                yield from measure_log(case, values, DRAWN_CUTS, seed)


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(20, 30))

"""How a training step grows with the rows of the embedding tables, beside torch's optimisers.

Steps and systems are those of `benchmarks.embedding_step`: a DCNv2 of the classifier's default
size, 26 columns of dimension 16, CPU time of the process, medians of 9 steps after 2; run it with
OMP_NUM_THREADS=1. ``growth`` is what a step on the largest tables takes more than one on the
smallest.

In ``same rows a batch`` every batch draws its ids by Zipf's law from 384 rows of each column,
others in each step, anywhere in the table: batches look up equally many different rows whatever
the tables hold, so only their size can matter, and how well the caches do. In ``Zipf`` a batch
draws from the whole table, as a log does: it looks up more different rows of larger tables, which
is counted as ``different rows``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.embedding_step import COLUMNS, DENSE, ROWS, SPARSE, STEPS, draw_ids, steps
from benchmarks.frame import OURS, Record, in_new_process, run

DIFFERENT = ROWS[0] // COLUMNS
IDS = {"same rows a batch": DIFFERENT, "Zipf": None}
SYSTEMS = (OURS, SPARSE, DENSE)
GROWING = ("CPU time, a step", "CPU time, of it optimisers")


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the records of all tables, and how they grow."""
    all_rows = ROWS[:2] if arguments.quick else arguments.rows
    timed = 2 if arguments.quick else STEPS
    for seed in arguments.seeds:
        for batch in (256,) if arguments.quick else arguments.batches:
            for ids in arguments.ids:
                found: dict[tuple[str, str], list[float]] = {}
                for rows in all_rows:
                    drawn = draw_ids(np.random.default_rng(seed), batch, rows // COLUMNS, IDS[ids])
                    different = sum(len(np.unique(column)) for column in drawn.T)
                    case = f"batch {batch:,}, {ids}, {rows:,} rows"
                    yield Record(case, OURS, "different rows", different, "", seed)
                    for system in arguments.systems:
                        settings = (system, rows, batch, timed, seed, IDS[ids])
                        for record in in_new_process(steps, *settings):
                            if record.metric in GROWING:
                                found.setdefault((system, record.metric), []).append(record.value)
                                yield Record(
                                    case, system, record.metric, record.value, record.unit, seed
                                )
                case = f"batch {batch:,}, {ids}, {all_rows[0]:,} to {all_rows[-1]:,} rows"
                for (system, metric), values in found.items():
                    growth = 100 * (values[-1] / values[0] - 1)
                    yield Record(case, system, f"{metric}, growth", growth, "%", seed)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, metavar="ROWS")
    parser.add_argument("--batches", nargs="+", type=int, default=(1024, 8192), metavar="ROWS")
    parser.add_argument("--ids", nargs="+", choices=IDS, default=list(IDS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))


if __name__ == "__main__":
    run(measure, __doc__ or "", options=_options)

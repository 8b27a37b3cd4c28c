"""Calls of functions that take turns, timed one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.frame import Record

_APART = 7  # batches between those of two systems in a round


def timed(
    case: str,
    systems: Mapping[str, Callable[..., Any]],
    batches: Sequence[tuple[Any, ...]],
    rows: int,
    calls: int,
    seed: int,
    *,
    in_a_row: int = 1,
) -> Iterator[Record]:
    """Yield the median time for a row of each system, on the wall and of the thread's CPU.

    Parameters
    ----------
    case : str
    systems : mapping of str to callable
        Take turns, so that a busy moment hits all alike.
    batches : sequence of tuple
        Arguments of calls. Systems that share memory get different ones in a round, so that none
        finds in the cache what another has just read.
    rows : int
        Rows of a batch.
    calls : int
        Of each system, after a turn that does not count; a multiple of `in_a_row`.
    seed : int
    in_a_row : int
        Calls of a turn: after a few, the caches hold what the system itself needs.
    """
    taken: dict[str, list[np.ndarray]] = {name: [] for name in systems}
    for first in range(-in_a_row, calls, in_a_row):
        for position, (name, system) in enumerate(systems.items()):
            for call in range(first, first + in_a_row):
                batch = batches[(call + _APART * position) % len(batches)]
                began = time.perf_counter_ns(), time.thread_time_ns()
                system(*batch)
                ended = time.perf_counter_ns(), time.thread_time_ns()
                if call >= 0:
                    taken[name].append(np.subtract(ended, began) / 1e3 / rows)
    for name, found in taken.items():
        times = np.array(found)
        for metric, values in zip(("time of a row", "CPU time of a row"), times.T, strict=True):
            yield Record(case, name, metric, float(np.median(values)), "µs", seed)

"""Calls of functions that take turns, timed one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.frame import Record

_UNTIMED = 3
_APART = 7  # batches between those of two systems in a round


def timed(
    case: str,
    systems: Mapping[str, Callable[..., Any]],
    batches: Sequence[tuple[Any, ...]],
    rows: int,
    calls: int,
    seed: int,
) -> Iterator[Record]:
    """Yield the median time for a row of each system, on the wall and of the thread's CPU.

    Parameters
    ----------
    case : str
    systems : mapping of str to callable
        Take turns call by call, so that a busy moment hits all alike.
    batches : sequence of tuple
        Arguments of calls. Systems that share memory get different ones in a round, so that none
        finds in the cache what another has just read.
    rows : int
        Rows of a batch.
    calls : int
        Of each system, after some that do not count.
    seed : int
    """
    taken = {name: np.empty((calls, 2)) for name in systems}
    for call in range(-_UNTIMED, calls):
        for position, (name, system) in enumerate(systems.items()):
            batch = batches[(call + _APART * position) % len(batches)]
            began = time.perf_counter_ns(), time.thread_time_ns()
            system(*batch)
            ended = time.perf_counter_ns(), time.thread_time_ns()
            if call >= 0:
                taken[name][call] = np.subtract(ended, began) / 1e3 / rows
    for name, times in taken.items():
        for metric, values in zip(("time of a row", "CPU time of a row"), times.T, strict=True):
            yield Record(case, name, metric, float(np.median(values)), "µs", seed)

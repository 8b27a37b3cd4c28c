"""Lines about what a stage does while Spark works for it, and which fit it is."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from pyspark.ml.param import Param, Params

INTERVAL = 10.0

_label: ContextVar[str] = ContextVar("spark_ctr_fit", default="")
# CrossValidator draws its folds by a column of its own; the fit of the best model has it not.
_FOLD_COLUMN = re.compile(r"CrossValidator_[0-9a-f]+_rand")

_lock = threading.Lock()
_fits: dict[tuple[str, str], int] = {}


def titled(title: str) -> str:
    """Put the fold and the grid point of the running fit before a title."""
    return ", ".join(filter(None, [_label.get(), title]))


def counted(number: int, thing: str) -> str:
    """Return such as "1 row" or "1,000 rows"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Give the fit that runs inside a label, which `titled` puts before all titles."""
    token = _label.set(titled(label))
    try:
        yield
    finally:
        _label.reset(token)


@contextmanager
def working(
    title: str,
    shown: bool = True,
    stream: TextIO | None = None,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str], None]]:
    """Say what begins, every `interval` seconds that it goes on, and when it is done.

    Parameters
    ----------
    title : str
    shown : bool
        False: silent.
    stream : TextIO, optional
        Default: standard error at the time of writing.
    interval : float
        Seconds between two lines.
    clock : callable
        Returns seconds.

    Yields
    ------
    callable
        Takes what was counted, in words, for the last line.
    """
    title, began, result = titled(title), clock(), [""]

    def say(line: str) -> None:
        if shown:
            print(f"{title}: {line}", file=stream or sys.stderr, flush=True)

    def go_on() -> None:
        while not over.wait(interval):
            say(f"{clock() - began:.0f} s so far")

    over = threading.Event()
    beats = threading.Thread(target=go_on, daemon=True, name="spark_ctr progress")
    if shown:
        say("begins")
        beats.start()
    try:
        yield lambda words: result.__setitem__(0, words)
    except BaseException:
        say(f"failed after {clock() - began:.1f} s")
        raise
    else:
        over.set()
        say(", ".join(filter(None, [f"done in {clock() - began:.1f} s", result[0]])))
    finally:
        over.set()
        if shown:
            beats.join()


def grid_point(params: dict[Param, Any] | None) -> str:
    """Put a grid point's Params into words."""
    words = []
    for param, value in (params or {}).items():
        shown = value.uid if isinstance(value, Params) else repr(value)
        words.append(f"{param.name}={shown}")
    return ", ".join(sorted(words))


def fold_of(uid: str, point: str, columns: Sequence[str]) -> str:
    """Name the fold of CrossValidator that a dataset is the training part of, else "".

    Spark does not say which fold it is: fits of one stage at one grid point are counted, in
    Spark's order of the folds.
    """
    in_fold = any(_FOLD_COLUMN.fullmatch(name) for name in columns)
    with _lock:
        if not in_fold:  # the fit of the best model ends a cross-validation
            for key in [key for key in _fits if key[0] == uid]:
                del _fits[key]
            return ""
        _fits[uid, point] = _fits.get((uid, point), 0) + 1
        return f"fold {_fits[uid, point]}"

"""Display of training progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm


class Progress:
    """Silent progress, and the interface of the others."""

    def start_epoch(self, epoch: int, epochs: int, rows: int) -> None:
        """Begin an epoch (from 0) of `rows` training rows out of at most `epochs` epochs."""

    def advance(self, rows: int, loss: float) -> None:
        """Report that `rows` more rows were trained, with `loss` on the last batch."""

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Finish the epoch with its record, see `training.history.History`."""

    def close(self) -> None:
        """Finish; also called when training fails."""


class LineProgress(Progress):
    """One plain line per epoch, and one about every `interval` seconds in long epochs.

    Parameters
    ----------
    stream : TextIO, optional
        Default: standard error at the time of writing.
    interval : float
        Least seconds between intermediate lines.
    clock : callable
        Returns seconds.
    title : str
        Put before each line.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        title: str = "",
    ) -> None:
        self._stream = stream
        self._prefix = f"{title}, " if title else ""
        self._interval = interval
        self._clock = clock

    def start_epoch(self, epoch: int, epochs: int, rows: int) -> None:  # noqa: D102
        self._title = f"{self._prefix}epoch {epoch + 1}/{epochs}"
        self._rows, self._done = rows, 0
        self._began = self._printed = self._clock()

    def advance(self, rows: int, loss: float) -> None:  # noqa: D102
        self._done += rows
        now = self._clock()
        if now - self._printed >= self._interval:
            self._printed = now
            self._print(
                f"{self._title}: {self._done:,} of {self._rows:,} rows, loss {loss:.4f}, "
                f"{self._done / max(now - self._began, 1e-9):,.0f} rows/s"
            )

    def end_epoch(self, record: dict[str, Any]) -> None:  # noqa: D102
        self._print(f"{self._title}: {describe(record)}")

    def _print(self, line: str) -> None:
        print(line, file=self._stream or sys.stderr, flush=True)


class BarProgress(Progress):
    """One tqdm bar per epoch on a terminal."""

    def __init__(self, stream: TextIO | None = None, title: str = "") -> None:
        self._stream = stream
        self._prefix = f"{title}, " if title else ""
        self._bar: Any = None  # a tqdm while an epoch runs
        self._shown = 0.0

    def start_epoch(self, epoch: int, epochs: int, rows: int) -> None:  # noqa: D102
        self._bar = tqdm(
            total=rows,
            desc=f"{self._prefix}epoch {epoch + 1}/{epochs}",
            unit=" rows",
            unit_scale=True,
            file=self._stream or sys.stderr,
            dynamic_ncols=True,
        )

    def advance(self, rows: int, loss: float) -> None:  # noqa: D102
        now = time.monotonic()
        if now - self._shown >= 0.5:
            self._shown = now
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update(rows)

    def end_epoch(self, record: dict[str, Any]) -> None:  # noqa: D102
        self._bar.set_postfix_str(describe(record), refresh=False)
        self.close()

    def close(self) -> None:  # noqa: D102
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def make_progress(stream: TextIO | None = None, title: str = "") -> Progress:
    """Choose a bar if the stream (default: standard error) is a terminal, else plain lines."""
    target = stream or sys.stderr
    if target.isatty():
        return BarProgress(stream, title)
    return LineProgress(stream, title=title)


def describe(record: dict[str, Any]) -> str:
    """Put the record of one epoch into words."""
    parts = [f"loss {record['train_loss']:.4f}"]
    if not math.isnan(record["valid_loss"]):
        parts.append(f"valid loss {record['valid_loss']:.4f}")
    if not math.isnan(record["valid_auc"]):
        parts.append(f"AUC {record['valid_auc']:.4f}")
    parts.append(f"{record['rows_per_second']:,.0f} rows/s")
    return ", ".join(parts)

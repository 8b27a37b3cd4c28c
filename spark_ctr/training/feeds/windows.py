"""The rows of a stream of row groups in windows, the next one filled while one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle

from spark_ctr.training.feeds.block import Block, Columns


def fill(
    groups: Generator[Columns, None, None],
    blocks: Sequence[Block],
    sizes: Sequence[int],
    drop: int = 0,
    stop: threading.Event | None = None,
) -> Generator[Block, None, None]:
    """Copy a stream of row groups into ``blocks`` in turn.

    Parameters
    ----------
    groups : generator of Columns
        At least ``drop + sum(sizes)`` rows; closed at the end.
    blocks : sequence of Block
        Used over and over: the rows of a yielded block last until its next turn.
    sizes : sequence of int
        Rows of each window, at most a block's.
    drop : int
        Rows of the first row group to leave out.
    stop : Event, optional
        Ends the stream at the next row group.
    """
    with closing(groups):
        columns, start = next(groups), drop
        for block, size in zip(cycle(blocks), sizes, strict=False):
            filled = 0
            while filled < size:
                if start == columns.rows:
                    if stop is not None and stop.is_set():
                        return
                    columns, start = next(groups), 0
                count = min(columns.rows - start, size - filled)
                block.put(filled, columns, start, count)
                start, filled = start + count, filled + count
            yield block


def windows(
    groups: Generator[Columns, None, None],
    blocks: tuple[Block, Block],
    sizes: Sequence[int],
    drop: int = 0,
) -> Generator[Block, None, None]:
    """Yield what `fill` does, filling one block in a thread while the other is used.

    The thread has ended, and ``groups`` is closed, once this generator is exhausted or closed.
    """
    stop = threading.Event()
    filled = fill(groups, blocks, sizes, drop, stop)
    with closing(filled), ThreadPoolExecutor(1, "spark_ctr-fill") as thread:
        try:
            ahead = thread.submit(next, filled, None)
            while (block := ahead.result()) is not None:
                ahead = thread.submit(next, filled, None)
                yield block
        finally:
            stop.set()

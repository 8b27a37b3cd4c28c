"""Shuffle buffer and batch assembly over row-group blocks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import numpy as np
import torch

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.block import Block


def load_all(blocks: Generator[Block, None, None], whole: Block) -> Block:
    """Fill ``whole`` with all blocks, in their order.

    Raises
    ------
    RuntimeError
        If there are not exactly ``whole.rows`` rows.
    """
    filled = 0
    with closing(blocks):
        for block in blocks:
            if filled + block.rows > whole.rows:
                break
            whole.copy_rows(filled, block, 0, block.rows)
            filled += block.rows
        else:
            if filled == whole.rows:
                return whole
    raise RuntimeError("the Parquet files changed while they were read; open the feed again")


def buffered_batches(
    blocks: Generator[Block, None, None],
    buffer: Block,
    batch_size: int,
    permutation: Callable[[int], np.ndarray] | None,
) -> Iterator[Batch]:
    """Cut a stream of blocks into batches through a buffer, permuting each full buffer.

    Rows left over when a full buffer is cut stay for the next one, so only the last batch of the
    stream is short.

    Parameters
    ----------
    blocks : generator of Block
        Closed at the end, also when the consumer stops early.
    buffer : Block
        Room for the rows permuted together, at least ``batch_size``.
    batch_size : int
    permutation : callable or None
        Draws a permutation of ``range(n)``; None keeps the order.
    """
    filled = 0
    with closing(blocks):
        for block in blocks:
            start = 0
            while start < block.rows:
                count = min(block.rows - start, buffer.rows - filled)
                buffer.copy_rows(filled, block, start, count)
                start, filled = start + count, filled + count
                if filled == buffer.rows:
                    order = permutation(filled) if permutation else np.arange(filled)
                    cut = filled - filled % batch_size
                    yield from batches_of(buffer, order[:cut], batch_size)
                    filled -= cut
                    left = _rows(buffer, order[cut:])
                    buffer.copy_rows(0, left, 0, filled)
        order = permutation(filled) if permutation else np.arange(filled)
        yield from batches_of(buffer, order, batch_size)


def batches_of(block: Block, order: np.ndarray, batch_size: int) -> Iterator[Batch]:
    """Gather rows of ``block`` in ``order`` (int64), ``batch_size`` at a time, as new tensors."""
    ids, numeric = torch.from_numpy(block.ids), torch.from_numpy(block.numeric)
    label, weight = torch.from_numpy(block.label), torch.from_numpy(block.weight)
    index = torch.from_numpy(order)
    for rows in index.split(batch_size) if len(order) else ():
        yield Batch(
            ids=ids.index_select(0, rows),
            numeric=numeric.index_select(0, rows),
            label=label.index_select(0, rows),
            weight=weight.index_select(0, rows),
        )


def _rows(block: Block, order: np.ndarray) -> Block:
    return Block(block.ids[order], block.numeric[order], block.label[order], block.weight[order])

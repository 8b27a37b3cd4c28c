"""Which rows of embedding tables are looked up so rarely that 4 bits do.

By the power law of values most rows of a table have few of its look-ups. The encoder numbers
frequent values by their frequency, so rare ones lie next to each other.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from spark_ctr.kernels.index4 import row_bytes
from spark_ctr.networks.layers.embedding import bags_of
from spark_ctr.networks.network import Network
from spark_ctr.tables import PADDING, Inputs

# Rows [first, last) of each block, by name of the embedding layer.
Ranges = dict[str, list[list[int]]]


def rare_rows(network: Network, batches: Iterable[Tensor], share: float) -> Ranges:
    """Return the longest range of rows of each block with at most a share of its look-ups.

    Tables of up to 3 numbers a row have none: 4 bits would save nothing.

    Parameters
    ----------
    network : Network
    batches : iterable of Tensor [B, ids_width], int
        Ids of the rows of training.
    share : float
        In [0, 1].

    Returns
    -------
    dict of str to list of [int, int]
        Of every embedding layer, rows [first, last) of each block. JSON-able.
    """
    counts = look_up_counts(network.inputs, batches)
    found: Ranges = {}
    for name, bags in bags_of(network).items():
        ranges = [[0, 0] for _ in bags.rows]
        for column, block in bags.block_of.items():
            table = bags.tables[column]  # of a part of the network's columns perhaps
            if row_bytes(table.dim) < table.dim:
                ranges[block] = longest_range(counts[table.name], share)
        found[name] = ranges
    return found


def look_up_counts(inputs: Inputs, batches: Iterable[Tensor]) -> dict[str, np.ndarray]:
    """Return how often each row is looked up, int64 [rows] by name of the column.

    Columns that share rows have the counts of all of them.
    """
    tables = inputs.tables
    keys: list[str | int] = [table.shared or c for c, table in enumerate(tables)]
    counts = {key: np.zeros(t.rows, np.int64) for key, t in zip(keys, tables, strict=True)}
    slots = [key for key, table in zip(keys, tables, strict=True) for _ in range(table.slots)]
    for batch in batches:
        for key, ids in zip(slots, batch.numpy().T, strict=True):
            ids = ids[ids != PADDING]
            np.add.at(counts[key], np.where(ids < 0, ~ids, ids), 1)
    return {table.name: counts[key] for key, table in zip(keys, tables, strict=True)}


def longest_range(counts: np.ndarray, share: float) -> list[int]:
    """Return [first, last) of the longest range whose counts are at most a share of all.

    Of ranges as long it is the first; [0, 0] where no row is so rare.
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    ends = np.searchsorted(before, before[:-1] + share * before[-1], side="right") - 1
    lengths = ends - np.arange(len(counts))
    first = int(lengths.argmax())
    return [first, int(ends[first])] if lengths[first] > 0 else [0, 0]


def coarse_count(ranges: Ranges) -> int:
    """Return the number of rows in ranges."""
    return sum(last - first for layer in ranges.values() for first, last in layer)

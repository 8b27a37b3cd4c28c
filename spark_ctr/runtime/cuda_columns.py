"""Columns of a look-up of a plan, as CUDA kernels read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from spark_ctr.kernels import cuda
from spark_ctr.runtime.plan import EmbedColumn
from spark_ctr.tables import Inputs


def by_layer(columns: Iterable[EmbedColumn]) -> list[list[EmbedColumn]]:
    """Return the columns of each layer of rows."""
    layers: dict[int, list[EmbedColumn]] = {}
    for column in columns:
        layers.setdefault(id(column.rows), []).append(column)
    return list(layers.values())


def prepared_columns(columns: Sequence[EmbedColumn], inputs: Inputs, width: int) -> np.ndarray:
    """Check and prepare the columns of one layer of rows.

    Parameters
    ----------
    columns : sequence of EmbedColumn
    inputs : Inputs
    width : int
        Elements of a row of the result.

    Returns
    -------
    ndarray [len(columns)], COLUMN

    Raises
    ------
    ValueError
        If the kernels do not take one.
    """
    stacked = columns[0].rows
    return cuda.embedding_columns(
        [_column(column, inputs) for column in columns],
        stacked.dim,
        ids_width=inputs.ids_width,
        width=width,
        index_rows=len(stacked.index),
        nibble_rows=0 if stacked.nibbles is None else len(stacked.nibbles),
    )


def _column(column: EmbedColumn, inputs: Inputs) -> cuda.EmbeddingColumn:
    table, stacked, block = inputs.tables[column.column], column.rows, column.block
    coarse = stacked.coarse[block]
    return cuda.EmbeddingColumn(
        rows=table.rows,
        start=stacked.starts[block],
        scale=column.scale,
        minimum=column.minimum,
        slot=sum(before.slots for before in inputs.tables[: column.column]),
        at=column.at,
        slots=table.slots,
        mean=table.pooling == "mean",
        padded=table.padded,
        first=coarse.first,
        last=coarse.last,
        coarse_start=stacked.coarse_starts[block],
    )

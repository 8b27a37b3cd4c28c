"""From the ids of the slots of some columns to one embedding a column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from spark_ctr.tables import PADDING, Inputs, Table


class Bags(nn.Module):
    """Look-up of the columns that one weight holds, and pooling of their slots.

    The weight stacks one block of rows for each table, or for each set of tables that share one.

    Parameters
    ----------
    inputs : Inputs
    columns : sequence of int
        Positions of the weight's columns, ascending.

    Attributes
    ----------
    tables : tuple of Table
        Those of the inputs.
    rows : list of int
        Rows of each block.
    blocks : list of int
        Block of each slot looked up.
    block_of : dict of int to int
        Block of each column.
    order : tuple of int
        Column positions in the order of the output.
    """

    def __init__(self, inputs: Inputs, columns: Sequence[int]) -> None:
        super().__init__()
        self.tables = tables = inputs.tables
        keys = {c: tables[c].shared or c for c in columns}
        position = {key: i for i, key in enumerate(dict.fromkeys(keys.values()))}
        rows = {position[keys[c]]: tables[c].rows for c in columns}
        self.rows = [rows[i] for i in range(len(rows))]
        first_rows = torch.tensor([0, *self.rows[:-1]], dtype=torch.int64).cumsum(0)
        # Columns of one kind come together, so that each kind is pooled in one go.
        self.order = tuple(sorted(columns, key=lambda c: _kind(tables[c])))
        self.kinds = [
            (len(list(run)), *kind)
            for kind, run in groupby(self.order, key=lambda c: _kind(tables[c]))
        ]
        self.block_of = {c: position[keys[c]] for c in self.order}
        self.blocks = [self.block_of[c] for c in self.order for _ in range(tables[c].slots)]
        first_slots = [0]
        for table in tables:
            first_slots.append(first_slots[-1] + table.slots)
        slots = [s for c in self.order for s in range(first_slots[c], first_slots[c + 1])]
        self._all_in_order = slots == list(range(inputs.ids_width))
        self._marked = any(tables[c].signed or tables[c].padded for c in columns)
        self._one_row_each = all(slots == 1 for _, slots, _, _ in self.kinds)
        # Derived from the inputs, so it follows the device but is not part of the state.
        self.register_buffer("offsets", first_rows[self.blocks], persistent=False)
        self.register_buffer("slots", torch.tensor(slots), persistent=False)

    def forward(self, ids: Tensor, weight: nn.Module) -> Tensor:
        """Look up and pool.

        Parameters
        ----------
        ids : Tensor, int64, [B, inputs.ids_width]
        weight : Module
            Maps rows [B, slots] to embeddings [B, slots, dim].

        Returns
        -------
        Tensor, float32, [B, len(columns), dim]
            In `order`.
        """
        ids = ids if self._all_in_order else ids[:, self.get_buffer("slots")]
        if not self._marked:
            values = weight(ids + self.get_buffer("offsets"))
        else:
            padding, negative = ids == PADDING, ids < 0
            rows = torch.where(negative, ~ids, ids).masked_fill(padding, 0)
            values = weight(rows + self.get_buffer("offsets"))
            factor = 1 - 2 * negative.to(values.dtype)
            values = values * factor.masked_fill(padding, 0).unsqueeze(2)
        return values if self._one_row_each else self._pooled(values, ids)

    def _pooled(self, values: Tensor, ids: Tensor) -> Tensor:
        pooled, start = [], 0
        for columns, slots, pooling, padded in self.kinds:
            part = slice(start, start + columns * slots)
            bags = values[:, part].unflatten(1, (columns, slots)).sum(2)
            if pooling == "mean" and padded:
                counts = (ids[:, part] != PADDING).unflatten(1, (columns, slots)).sum(2)
                bags = bags / counts.clamp_min(1).unsqueeze(2)
            elif pooling == "mean":
                bags = bags / slots
            pooled.append(bags)
            start = part.stop
        return torch.cat(pooled, 1)


def _kind(table: Table) -> tuple[int, str, bool]:
    """Slots, pooling and whether to count them; the latter two do not matter for one slot."""
    if table.slots == 1:
        return 1, "sum", False
    return table.slots, table.pooling, table.padded

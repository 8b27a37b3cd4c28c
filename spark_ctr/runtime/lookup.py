"""Look-up of packed embedding tables: several ids a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spark_ctr.kernels import index8_values
from spark_ctr.runtime.stacked_rows import BlockRows, StackedRows
from spark_ctr.tables import PADDING, Inputs, Table


def blocks_of(tables: Sequence[Table], columns: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the block of rows of each column, and the number of rows of each block.

    A block belongs to one table, or to all tables that share it; blocks are in the order of the
    columns that use them first.
    """
    keys = [tables[c].shared or c for c in columns]
    position = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    rows = {position[key]: tables[c].rows for key, c in zip(keys, columns, strict=True)}
    return [position[key] for key in keys], [rows[i] for i in range(len(rows))]


class Lookup:
    """Columns whose tables one layer of quantised rows holds.

    The rows stay quantised: only those that are looked up become float32.

    Parameters
    ----------
    inputs : Inputs
    columns : sequence of int
        Positions of the columns that the layer holds.
    rows : StackedRows
        The blocks of `blocks_of`.
    scale, minimum : ndarray [blocks], float32
        The affine map of each block.

    Attributes
    ----------
    order : list of int
        Column positions in the order of the output.
    """

    def __init__(
        self,
        inputs: Inputs,
        columns: Sequence[int],
        rows: StackedRows,
        scale: np.ndarray,
        minimum: np.ndarray,
    ) -> None:
        tables = inputs.tables
        found, _ = blocks_of(tables, columns)
        block_of = dict(zip(columns, found, strict=True))
        slots = [table.slots for table in tables]
        first_slots = np.cumsum([0, *slots])
        # Columns of many slots first and slot by slot: each sum over the slots is then a few
        # additions of whole parts of the array.
        self.order = sorted(columns, key=lambda c: -slots[c])
        chosen = [(c, s) for s in range(slots[self.order[0]]) for c in self.order if s < slots[c]]
        self._widths = [sum(s < slots[c] for c in columns) for s in range(slots[self.order[0]])]
        self._slots = np.array([first_slots[c] + s for c, s in chosen])
        self._all_in_order = self._slots.tolist() == list(range(first_slots[-1]))
        blocks = np.array([block_of[c] for c, _ in chosen])
        self._rows = BlockRows(rows, blocks)
        # One number per element: NumPy is slow at repeating one over a few elements.
        self._scale, self._minimum = (
            np.repeat(part[blocks][:, None], rows.dim, axis=1) for part in (scale, minimum)
        )
        ordered = [tables[c] for c in self.order]
        self._marked = any(table.signed or table.padded for table in ordered)
        mean = np.array([table.pooling == "mean" for table in ordered])
        self._counted = mean & [table.padded for table in ordered]
        self._divisor = np.where(mean, [slots[c] for c in self.order], 1).astype(np.float32)

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """Return the embeddings of ids, int64 [B, ids_width], as float32 [B, columns, dim].

        The columns are in `order`.
        """
        ids = ids if self._all_in_order else ids[:, self._slots]
        if not self._marked:
            values = self._dequantised(ids)
            return values if len(self._widths) == 1 else self._sums(values) / self._divisor[:, None]
        negative, padding = ids < 0, ids == PADDING
        values = self._dequantised(np.where(padding, 0, np.where(negative, ~ids, ids)))
        factor = np.where(negative, np.float32(-1), np.float32(1))
        values *= factor[:, :, None]
        # Not by a factor of 0: whatever the row holds, padding is 0.
        values[padding] = 0
        divisor = self._divisor
        if self._counted.any():
            counts = self._sums(np.where(padding, np.float32(0), np.float32(1)))
            divisor = np.where(self._counted, np.maximum(counts, np.float32(1)), divisor)
        return self._sums(values) / divisor[..., None]

    def _dequantised(self, rows: np.ndarray) -> np.ndarray:
        return index8_values(self._rows(rows), self._scale, self._minimum)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the slots of each column, in place; [B, slots, ...] to [B, columns, ...]."""
        start = self._widths[0]
        total = values[:, :start]
        for width in self._widths[1:]:
            total[:, :width] += values[:, start : start + width]
            start += width
        return total

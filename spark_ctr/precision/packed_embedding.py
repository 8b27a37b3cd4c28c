"""Look-up of packed embedding tables: several ids a column, on NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_ctr.kernels import index8_embedding
from spark_ctr.tables import PADDING


def slot_tables(tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of each id of a row of data, from `Inputs.to_dict`."""
    return [table for table in tables for _ in range(table.get("slots", 1))]


class IdRange:
    """Check of ids against their tables.

    Parameters
    ----------
    tables : sequence of dict
        From `Inputs.to_dict`.
    """

    def __init__(self, tables: Sequence[dict[str, Any]]) -> None:
        self._tables = slot_tables(tables)
        self._rows = np.array([table["rows"] for table in self._tables], dtype=np.int64)
        self._lowest = np.array([_lowest(table) for table in self._tables], dtype=np.int64)
        self._padded = np.array([table.get("padded", False) for table in self._tables], dtype=bool)
        self._marked = bool(self._lowest.any() or self._padded.any())
        self._unsigned_rows = self._rows.astype(np.uint64)

    def check(self, ids: np.ndarray) -> None:
        """Raise IndexError if one of the ids, int64 [B, ids_width], lies outside its table.

        Columns share an array, so without it a wrong id would read another column's row.
        """
        if self._marked:
            outside = (ids < self._lowest) | (ids >= self._rows)
            outside &= ~(self._padded & (ids == PADDING))
        else:
            outside = ids.view(np.uint64) >= self._unsigned_rows  # a negative id is a huge one
        if outside.any():
            row, slot = (int(i) for i in np.argwhere(outside)[0])
            table = self._tables[slot]
            raise IndexError(
                f"id {int(ids[row, slot])} of column '{table['name']}' lies outside "
                f"[{_lowest(table)}, {table['rows']}); encode the data with the encoder the model "
                "was trained on"
            )


def _lowest(table: dict[str, Any]) -> int:
    return -table["rows"] if table.get("signed", False) else 0


class PackedBags:
    """Columns whose tables one array of 8-bit indices holds.

    Parameters
    ----------
    tables : sequence of dict
        All tables, from `Inputs.to_dict`.
    columns : sequence of int
        Positions of the columns that the array holds, ascending.
    index : ndarray [sum(rows), dim], int8
        The blocks of rows, in the order of the columns that use them first.
    rows : sequence of int
        Rows of each block.
    scale, minimum : ndarray [blocks], float32
        The affine map of each block.

    Attributes
    ----------
    order : list of int
        Column positions in the order of the output.
    in_order : bool
        Whether these are all columns in their order.
    """

    def __init__(
        self,
        tables: Sequence[dict[str, Any]],
        columns: Sequence[int],
        index: np.ndarray,
        rows: Sequence[int],
        scale: np.ndarray,
        minimum: np.ndarray,
    ) -> None:
        keys = {c: tables[c].get("shared") or c for c in columns}
        position = {key: i for i, key in enumerate(dict.fromkeys(keys.values()))}
        slots = [table.get("slots", 1) for table in tables]
        first_slots = np.cumsum([0, *slots])
        # Columns of many slots first and slot by slot: each sum over the slots is then a few
        # additions of whole parts of the array.
        self.order = sorted(columns, key=lambda c: -slots[c])
        chosen = [(c, s) for s in range(slots[self.order[0]]) for c in self.order if s < slots[c]]
        self._widths = [sum(s < slots[c] for c in columns) for s in range(slots[self.order[0]])]
        self.in_order = self.order == list(range(len(tables)))
        self._slots = np.array([first_slots[c] + s for c, s in chosen])
        self._all_in_order = self._slots.tolist() == list(range(first_slots[-1]))
        blocks = [position[keys[c]] for c, _ in chosen]
        self._first_rows = np.cumsum([0, *rows[:-1]])[blocks]
        self._index = index
        # One number per element: NumPy is slow at repeating one over a few elements.
        self._scale, self._minimum = (
            np.repeat(part[blocks][:, None], index.shape[1], axis=1) for part in (scale, minimum)
        )
        ordered = [tables[c] for c in self.order]
        self._marked = any(t.get("signed", False) or t.get("padded", False) for t in ordered)
        mean = np.array([table.get("pooling", "mean") == "mean" for table in ordered])
        self._counted = mean & [table.get("padded", False) for table in ordered]
        self._divisor = np.where(mean, [slots[c] for c in self.order], 1).astype(np.float32)

    def look_up(self, ids: np.ndarray) -> np.ndarray:
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
        factor[padding] = 0
        values *= factor[:, :, None]
        divisor = self._divisor
        if self._counted.any():
            counts = self._sums(np.where(padding, np.float32(0), np.float32(1)))
            divisor = np.where(self._counted, np.maximum(counts, np.float32(1)), divisor)
        return self._sums(values) / divisor[..., None]

    def _dequantised(self, rows: np.ndarray) -> np.ndarray:
        rows = rows + self._first_rows
        return index8_embedding(self._index, self._scale, self._minimum, rows)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the slots of each column, in place; [B, slots, ...] to [B, columns, ...]."""
        start = self._widths[0]
        total = values[:, :start]
        for width in self._widths[1:]:
            total[:, :width] += values[:, start : start + width]
            start += width
        return total

"""Which ids are valid: one rule for arrays of NumPy, tensors of torch and columns of Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_ctr.tables.table import Table

# The id that stands for no value in an array column: the least int32.
PADDING = -(2**31)
_UNSIGNED: dict[np.dtype[Any], type[np.unsignedinteger[Any]]] = {
    np.dtype(np.int32): np.uint32,
    np.dtype(np.int64): np.uint64,
}


def is_valid_id(ids: Any, lowest: Any, rows: Any, padded: Any = None) -> Any:
    """Return whether ids name a row of their table, or stand for no value where they may.

    Parameters
    ----------
    ids, lowest, rows : ndarray, Tensor, Column or int
        Ids, and `Table.lowest` and `Table.rows` of their tables; whatever compares and broadcasts.
    padded : boolean, optional
        Whether each id may be `PADDING`; without it none may.

    Returns
    -------
    ndarray, Tensor or Column of bool
    """
    inside = (ids >= lowest) & (ids < rows)
    return inside if padded is None else inside | (padded & (ids == PADDING))


class IdRange:
    """The valid ids of each slot of a row of data.

    Parameters
    ----------
    tables : sequence of Table
        The table of each slot, from `Inputs.slot_tables`.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._lowest = np.array([table.lowest for table in tables], dtype=np.int64)
        self._rows = np.array([table.rows for table in tables], dtype=np.int64)
        padded = np.array([table.padded for table in tables], dtype=bool)
        self._padded = padded if padded.any() else None
        self._plain = self._padded is None and not self._lowest.any()
        self._unsigned_rows = {
            kind: self._rows.astype(unsigned) for kind, unsigned in _UNSIGNED.items()
        }

    def valid(self, ids: np.ndarray) -> np.ndarray:
        """Return which of the ids, a number each [B, slots], are valid; bool [B, slots]."""
        if self._plain and ids.dtype in _UNSIGNED:
            # A negative id is a huge one, so one comparison does.
            return ids.view(_UNSIGNED[ids.dtype]) < self._unsigned_rows[ids.dtype]
        return is_valid_id(ids, self._lowest, self._rows, self._padded)

    def check(self, ids: np.ndarray) -> None:
        """Raise IndexError if one of the ids, int [B, slots], is not valid.

        Columns share a weight, so without it a wrong id would read another column's row.
        """
        valid = self.valid(ids)
        if valid.all():
            return
        row, slot = (int(i) for i in np.argwhere(~valid)[0])
        table = self._tables[slot]
        raise IndexError(
            f"id {int(ids[row, slot])} of column '{table.name}' lies outside "
            f"[{table.lowest}, {table.rows}); encode the data with the encoder that the model was "
            "trained with"
        )

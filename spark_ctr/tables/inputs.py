"""What a network reads: categorical tables and numeric columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from spark_ctr.tables.ids import IdRange
from spark_ctr.tables.table import Table


@dataclass(frozen=True)
class Inputs:
    """Columns of one network, in the order in which a batch holds them.

    Parameters
    ----------
    tables : tuple of Table
        Categorical columns; may be empty.
    numeric : tuple of str
        Numeric columns, already standardised; may be empty.

    Raises
    ------
    ValueError
        If there is no column at all, two columns share a name within a kind, or tables that share
        their rows differ in rows or dim.
    """

    tables: tuple[Table, ...]
    numeric: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", tuple(self.tables))
        object.__setattr__(self, "numeric", tuple(self.numeric))
        if not self.tables and not self.numeric:
            raise ValueError("a network needs at least one categorical or numeric column")
        for kind, names in (
            ("categorical", [table.name for table in self.tables]),
            ("numeric", list(self.numeric)),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} column(s) {twice} appear twice; name each column once")
        blocks: dict[str, Table] = {}
        for table in self.tables:
            first = blocks.setdefault(table.shared, table) if table.shared else table
            if (first.rows, first.dim) != (table.rows, table.dim):
                raise ValueError(
                    f"columns '{first.name}' and '{table.name}' share the rows "
                    f"'{table.shared}' and must agree in rows and dim, got "
                    f"{first.rows} x {first.dim} and {table.rows} x {table.dim}"
                )

    def same_ids(self, other: Inputs) -> bool:
        """Whether the same ids mean the same in all tables, as far as it is known."""
        pairs = zip(self.tables, other.tables, strict=False)
        return len(self.tables) == len(other.tables) and all(a.same_ids(b) for a, b in pairs)

    def at_most(self, dim: int) -> Inputs:
        """Return these columns with rows of tables no wider than `dim`; ids stay what they are."""
        tables = (replace(table, dim=min(table.dim, dim)) for table in self.tables)
        return Inputs(tuple(tables), self.numeric)

    @cached_property
    def ids_width(self) -> int:
        """Ids per row of data: the slots of all tables."""
        return sum(table.slots for table in self.tables)

    @property
    def slot_tables(self) -> tuple[Table, ...]:
        """The table of each id of a row of data."""
        return tuple(table for table in self.tables for _ in range(table.slots))

    @cached_property
    def id_range(self) -> IdRange:
        """Which ids of a row of data are valid."""
        return IdRange(self.slot_tables)

    @property
    def embedded_width(self) -> int:
        """Width of all embedded columns side by side."""
        return sum(table.dim for table in self.tables)

    @property
    def width(self) -> int:
        """Width of the embedded and the numeric columns side by side."""
        return self.embedded_width + len(self.numeric)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able description; `from_dict` reads it back."""
        return {
            "tables": [table.to_dict() for table in self.tables],
            "numeric": list(self.numeric),
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Inputs:
        """Build from what `to_dict` returned.

        Raises
        ------
        ValueError
            If it is no description of inputs.
        """
        parts = description if isinstance(description, dict) else {}
        tables, numeric = parts.get("tables"), parts.get("numeric")
        if not isinstance(tables, list) or not isinstance(numeric, list):
            raise ValueError(f"inputs are described by tables and numeric, got {description!r}")
        if not all(isinstance(name, str) for name in numeric):
            raise ValueError(f"names of numeric columns must be strings, got {numeric!r}")
        return cls(tuple(map(Table.from_dict, tables)), tuple(numeric))

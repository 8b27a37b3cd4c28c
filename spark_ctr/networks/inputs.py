"""What a network reads: categorical tables and numeric columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Embedding table of one categorical column.

    Parameters
    ----------
    name : str
        Column name.
    rows : int
        Number of rows; ids lie in ``[0, rows)`` and 0 stands for a missing value.
    dim : int
        Width of one row.

    Raises
    ------
    ValueError
        If ``rows`` or ``dim`` is below 1.
    """

    name: str
    rows: int
    dim: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.dim < 1:
            raise ValueError(
                f"table of column '{self.name}' needs rows >= 1 and dim >= 1, "
                f"got rows={self.rows}, dim={self.dim}"
            )


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
        If there is no column at all, or two columns share a name within a kind.
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
            "tables": [
                {"name": table.name, "rows": table.rows, "dim": table.dim} for table in self.tables
            ],
            "numeric": list(self.numeric),
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Inputs:
        """Build from what `to_dict` returned."""
        tables = tuple(
            Table(str(table["name"]), int(table["rows"]), int(table["dim"]))
            for table in description["tables"]
        )
        return cls(tables, tuple(str(name) for name in description["numeric"]))

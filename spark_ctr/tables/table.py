"""The embedding table of one categorical column."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

POOLINGS = ("mean", "sum")


@dataclass(frozen=True)
class Table:
    """Embedding table of one categorical column.

    A row of data holds `slots` ids of the column; its embedding is the mean or the sum of the
    rows that they name.

    Parameters
    ----------
    name : str
        Column name.
    rows : int
        Number of rows; ids lie in ``[0, rows)`` and 0 stands for a missing value.
    dim : int
        Width of one row.
    slots : int
        Ids per value: 2 for a value hashed twice, or the most values that a list may hold.
    pooling : {"mean", "sum"}
        How the rows of the slots become one embedding.
    signed : bool
        Whether an id may be negative: ``~row`` counts that row with factor -1.
    padded : bool
        Whether an id may be `PADDING`, which contributes nothing: the mean is over the other
        slots, and the embedding of nothing but padding is zero.
    shared : str
        Tables of equal, non-empty `shared` are one block of rows, and equal in rows and dim.
    private : int
        Rows of the values that have one to themselves, behind the row of the missing value. Behind
        those are the hashed rows, in a shared block behind the rows of all its tables.
    vocabulary, earlier : str
        Fingerprint of which value has which row, and of the one that it grew from, whose private
        rows are the first of this one; empty where unknown. See `networks.growth`.

    Raises
    ------
    ValueError
        If ``rows``, ``dim`` or ``slots`` is below 1, or the pooling is unknown.
    """

    name: str
    rows: int
    dim: int
    slots: int = 1
    pooling: str = "mean"
    signed: bool = False
    padded: bool = False
    shared: str = ""
    private: int = field(default=0, compare=False)
    vocabulary: str = field(default="", compare=False)
    earlier: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.dim < 1 or self.slots < 1:
            raise ValueError(
                f"table of column '{self.name}' needs rows >= 1, dim >= 1 and slots >= 1, "
                f"got rows={self.rows}, dim={self.dim}, slots={self.slots}"
            )
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"table of column '{self.name}' has pooling {self.pooling!r}; "
                f"choose one of {', '.join(POOLINGS)}"
            )

    @property
    def lowest(self) -> int:
        """Least id that names a row."""
        return -self.rows if self.signed else 0

    @property
    def ids_layout(self) -> dict[str, Any]:
        """All of `to_dict` that tells which ids may come: neither `dim` nor what ids stand for."""
        hidden = ("dim", *UNCOMPARED)
        return {key: value for key, value in self.to_dict().items() if key not in hidden}

    def same_ids(self, other: Table) -> bool:
        """Whether the same ids mean the same, as far as it is known."""
        unknown = not (self.vocabulary and other.vocabulary)
        return self.ids_layout == other.ids_layout and (
            unknown or self.vocabulary == other.vocabulary
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able description without what has its default value."""
        return {
            key: value
            for key, value in asdict(self).items()
            if key in ("name", "rows", "dim") or value != _DEFAULTS[key]
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Table:
        """Build from what `to_dict` returned; other keys are ignored.

        Raises
        ------
        ValueError
            If it is no description of a table.
        """
        if not isinstance(description, dict):
            raise ValueError(f"a table is described by an object, got {description!r}")
        table = cls(**{key: description[key] for key in _described_keys(description)})
        if table.rows > _MOST_ROWS or table.private < 0 or table.private >= table.rows:
            raise ValueError(
                f"table of column '{table.name}' cannot have {table.rows} rows, "
                f"{table.private} of them private"
            )
        return table


_DEFAULTS = {f.name: f.default for f in fields(Table)}
_KINDS = {"str": str, "int": int, "bool": bool}
_MOST_ROWS = 2**31 - 1  # ids are int32


def _described_keys(description: dict[str, Any]) -> list[str]:
    """Keys of a table's description, whose values are of the kinds of its fields."""
    for found in fields(Table):
        value = description.get(found.name, None if found.name in _NEEDED else found.default)
        if type(value) is not _KINDS[str(found.type)]:
            raise ValueError(f"{found.name} of a table is {found.type}, got {value!r}")
    return [key for key in _DEFAULTS if key in description]


_NEEDED = ("name", "rows", "dim")
# Of no consequence for computing with a table.
UNCOMPARED = tuple(f.name for f in fields(Table) if not f.compare)

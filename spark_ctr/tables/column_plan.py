"""What becomes of a categorical column: decided by the selector, read by the encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

# Names in the metadata of datasets that earlier versions wrote.
_EARLIER = {"minCount": "min_count", "dimension": "dim"}


@dataclass(frozen=True)
class ColumnPlan:
    """Embedding rows of a column; the names are those of `Table`, which comes of it.

    Attributes
    ----------
    min_count : int
        Values seen at least so often get a private row each.
    buckets : int
        Hashed rows for all other values.
    dim : int
        Width of a row.
    kept : bool
        False for a column that is dropped.
    """

    min_count: int
    buckets: int
    dim: int
    kept: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return asdict(self)

    def described(self, description: dict[str, Any]) -> ColumnPlan:
        """Return the plan that `to_dict` described; what it does not say is as in this one."""
        found = {_EARLIER.get(key, key): value for key, value in description.items()}
        if "decision" in found:
            found["kept"] = found["decision"] != "drop"
        return replace(self, **{f.name: found[f.name] for f in fields(self) if f.name in found})

"""Columns side by side as fields, those of equal width together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from spark_ctr.tables import Inputs


class FieldGroups(nn.Module):
    """Which units of the columns side by side are a field, and which fields are of equal width.

    Parameters
    ----------
    inputs : Inputs
        A numeric column is a field of width 1.

    Attributes
    ----------
    dims, counts : tuple of int
        Width and number of the fields of each group.
    names : tuple of str
        Column of each field, group by group.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        columns = [(t.name, t.dim) for t in inputs.tables] + [(n, 1) for n in inputs.numeric]
        ends = list(accumulate(width for _, width in columns))
        self.dims = tuple(dict.fromkeys(width for _, width in columns))
        groups = [[c for c, (_, width) in enumerate(columns) if width == dim] for dim in self.dims]
        self.counts = tuple(map(len, groups))
        fields = [c for group in groups for c in group]
        self.names = tuple(columns[c][0] for c in fields)
        self._in_order = fields == sorted(fields)
        order = [u for c in fields for u in range(ends[c] - columns[c][1], ends[c])]
        self.register_buffer("order", torch.tensor(order), persistent=False)
        back = sorted(range(len(order)), key=order.__getitem__)
        self.register_buffer("back", torch.tensor(back), persistent=False)

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the fields of each group [B, count, dim] of x [B, inputs.width]."""
        x = x if self._in_order else x[:, self.get_buffer("order")]
        if len(self.dims) == 1:
            return [x.unflatten(1, (-1, self.dims[0]))]
        widths = [n * dim for n, dim in zip(self.counts, self.dims, strict=True)]
        parts = x.split(widths, 1)
        # By index, as torch.fx traces it.
        return [parts[g].unflatten(1, (-1, dim)) for g, dim in enumerate(self.dims)]

    def join(self, fields: Sequence[Tensor]) -> Tensor:
        """Put what `split` returned side by side again."""
        flat = [of_group.flatten(1) for of_group in fields]
        x = flat[0] if len(flat) == 1 else torch.cat(flat, 1)
        return x if self._in_order else x[:, self.get_buffer("back")]

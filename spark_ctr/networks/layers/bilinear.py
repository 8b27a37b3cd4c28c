"""Bilinear interaction of all pairs of fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KINDS = ("interaction", "each", "all")


class BilinearInteraction(nn.Module):
    """p_ij = (v_i W) * v_j for all pairs i < j, where * is the Hadamard product.

    Parameters
    ----------
    fields : int
        Number of fields F, at least 2.
    dim : int
        Width k of a field.
    kind : {"interaction", "each", "all"}
        A matrix W for each pair, for each left field i, or one for all.

    References
    ----------
    Huang et al., "FiBiNET", RecSys 2019, equations 7 to 9. "each" has F - 1 matrices where the
    paper counts F: the last field is never the left one of a pair.
    """

    def __init__(self, fields: int, dim: int, kind: str) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        left, right = torch.triu_indices(fields, fields, offset=1)
        matrices = {"interaction": len(left), "each": fields - 1, "all": 1}[kind]
        self.kind = kind
        self.pairs = len(left)
        self.weight = nn.Parameter(torch.empty(matrices, dim, dim))
        for matrix in self.weight.data:
            nn.init.xavier_normal_(matrix)
        # Derived from the number of fields, so they follow the device but are not saved.
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Map fields [B, F, k] to pairs [B, F (F - 1) / 2, k], i before j."""
        left, right = self.get_buffer("left"), self.get_buffer("right")
        if self.kind == "interaction":
            mapped = torch.einsum("bpk,pkl->bpl", fields[:, left], self.weight)
        elif self.kind == "each":
            mapped = torch.einsum("bfk,fkl->bfl", fields[:, :-1], self.weight)[:, left]
        else:
            mapped = (fields @ self.weight[0])[:, left]
        return mapped * fields[:, right]

"""Multi-head self-attention between fields."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.layers.dropout import Dropout


class FieldAttention(nn.Module):
    """One interacting layer of AutoInt: every field attends to all fields.

    Heads side by side plus a linear map of the input, then optional layer normalisation and ReLU.
    Scores are divided by the square root of a head's width, which the paper does not do and its
    implementations do.

    Parameters
    ----------
    n_in : int
        Width of an input field.
    dim : int
        Width of an output field, all heads together.
    heads : int
    dropout : float
        Share of attention weights dropped in training.
    layer_norm : bool

    Raises
    ------
    ValueError
        If the heads do not divide `dim`.

    References
    ----------
    Song et al., "AutoInt", CIKM 2019, equations 5 to 8. Where `dim` equals `n_in` the residual is
    the input itself, as in FuxiCTR, instead of a square map of it.
    """

    def __init__(self, n_in: int, dim: int, heads: int, dropout: float, layer_norm: bool) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide attention_dim {dim}, got heads {heads}")
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.query = nn.Linear(n_in, dim, bias=False)
        self.key = nn.Linear(n_in, dim, bias=False)
        self.value = nn.Linear(n_in, dim, bias=False)
        self.residual = nn.Identity() if n_in == dim else nn.Linear(n_in, dim, bias=False)
        self.norm = nn.LayerNorm(dim) if layer_norm else nn.Identity()

    def forward(self, fields: Tensor) -> Tensor:
        """Map fields [B, F, n_in] to [B, F, dim]."""
        query, key, value = (
            part(fields).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if self.training and self.dropout.p > 0:
            # The fused function draws from torch's global generator.
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            heads = self.dropout(scores.softmax(3)) @ value
        else:
            heads = F.scaled_dot_product_attention(query, key, value)
        return F.relu(self.norm(heads.transpose(1, 2).flatten(2) + self.residual(fields)))

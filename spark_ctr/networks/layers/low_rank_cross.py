"""Cross network of DCN-V2 with a mixture of low-rank experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LowRankCross(nn.Module):
    """One cross layer of low-rank experts.

    x_{l+1} = sum_i G_i(x_l) E_i(x_l) + x_l, where
    E_i(x_l) = x_0 * (U_i g(C_i g(V_i^T x_l)) + b), g is tanh and G a softmax over the experts.

    Parameters
    ----------
    width : int
        Width d of input and output.
    rank : int
        Width r of an expert.
    experts : int
        Number of experts K.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021, equations 3 to 5.
    """

    def __init__(self, width: int, rank: int, experts: int) -> None:
        super().__init__()
        # All experts side by side: V is [K r, d], and the gates weigh the columns of U [d, K r].
        self.down = nn.Linear(width, experts * rank, bias=False)
        self.core = nn.Parameter(torch.empty(experts, rank, rank))
        self.up = nn.Linear(experts * rank, width)
        self.gate = nn.Linear(width, experts, bias=False)
        for matrix in self.core.data:
            nn.init.xavier_normal_(matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, d], by which x_0 is multiplied."""
        experts, rank = self.core.shape[:2]
        low = torch.tanh(self.down(x)).unflatten(1, (experts, rank))
        low = torch.tanh(torch.einsum("bkr,ksr->bks", low, self.core))
        gates = torch.softmax(self.gate(x), 1)
        # Gates sum to 1, so the bias of the experts comes out once.
        return self.up((gates.unsqueeze(2) * low).flatten(1))

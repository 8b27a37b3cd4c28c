"""Squeeze and excitation: a weight for each field."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FieldReweighting(nn.Module):
    """Scale each field by a weight that all fields decide together.

    a = ReLU(W_2 ReLU(W_1 z)), where z_i is the mean of field i; field i becomes a_i v_i.

    Parameters
    ----------
    fields : int
        Number of fields F.
    reduction : int
        The layer in between has F / reduction units, at least 1.

    References
    ----------
    Huang et al., "FiBiNET", RecSys 2019, section 3.3 (SENET layer).
    """

    def __init__(self, fields: int, reduction: int) -> None:
        super().__init__()
        reduced = max(1, fields // reduction)
        self.squeeze = nn.Linear(fields, reduced, bias=False)
        self.excite = nn.Linear(reduced, fields, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Map fields [B, F, k] to scaled fields [B, F, k]."""
        weights = F.relu(self.excite(F.relu(self.squeeze(fields.mean(2)))))
        return fields * weights.unsqueeze(2)

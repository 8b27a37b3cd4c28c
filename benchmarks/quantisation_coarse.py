"""Rows of embedding tables in fewer than 8 bits, simulated: rounded here, held by no format."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from spark_ctr.networks import Network
from spark_ctr.networks.layers.embedding import EmbeddingTables

_CLIPS = np.linspace(0.3, 1.0, 15)  # of the largest value, tried as the largest index


def coarse_rows(
    network: Network, ids: np.ndarray, bits: int, share: float = 1.0, by_row: bool = False
) -> tuple[Network, float]:
    """Round the rarest rows of all tables to a few bits, one scale a table or a row.

    Parameters
    ----------
    network : Network
        Left as it is. Its tables have one slot a column and share no rows.
    ids : ndarray [B, C]
        Rows of training, by which the rows of a table are frequent or rare.
    bits : int
        From 2 on: indices in [1 - 2^(bits - 1), 2^(bits - 1) - 1].
    share : float
        Of all look-ups that the rounded rows of a table have together at most; 1 for all rows.
    by_row : bool
        Whether each row has a scale of its own, of a byte.

    Returns
    -------
    network : Network
    saved : float
        Bytes that it takes less than with 8 bits a value; scales of tables are not counted.
    """
    made, saved = copy.deepcopy(network), 0.0
    for module in made.modules():
        if isinstance(module, EmbeddingTables):
            for group, weight in zip(module.groups, module.weights, strict=True):
                start = 0
                for column in group:
                    rows = module.inputs.tables[column].rows
                    count = np.bincount(ids[:, column], minlength=rows)
                    at = torch.from_numpy(_rarest(count, share) + start)
                    weight.weight.data[at] = _rounded(weight.weight.data[at], bits, by_row)
                    saved += len(at) * (weight.embedding_dim * (8 - bits) / 8 - by_row)
                    start += rows
    return made, saved


def _rarest(count: np.ndarray, share: float) -> np.ndarray:
    """Return rows, the rarest first, that have at most a share of all look-ups together."""
    order = np.argsort(count, kind="stable")
    return order[np.cumsum(count[order]) <= share * count.sum()]


def _rounded(values: Tensor, bits: int, by_row: bool) -> Tensor:
    """Round to the multiples of the scale that has the least squared error."""
    if not values.numel():
        return values
    levels, parts = 2 ** (bits - 1) - 1, values if by_row else values.reshape(1, -1)
    most = parts.abs().amax(1, keepdim=True)
    most[most == 0] = 1.0
    tried = [float(clip) * most / levels for clip in _CLIPS]
    found = torch.stack([torch.round(parts / s).clamp(-levels, levels) * s for s in tried])
    best = (found - parts).square().sum(2).argmin(0)
    return found[best, torch.arange(len(parts))].reshape(values.shape)

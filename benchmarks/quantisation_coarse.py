"""Rows of embedding tables in fewer than 8 bits, simulated: rounded here, held by no format."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from spark_ctr.networks import Network
from spark_ctr.networks.layers.embedding import bags_of
from spark_ctr.precision.rare_rows import Ranges

_CLIPS = np.linspace(0.3, 1.0, 15)  # of the largest value, tried as the largest index


def coarse_rows(
    network: Network, ranges: Ranges, bits: int, by_row: bool = False
) -> tuple[Network, float]:
    """Round some rows of all tables to a few bits, one scale a table or a row.

    Parameters
    ----------
    network : Network
        Left as it is.
    ranges : dict of str to list
        The rows, from `rare_rows`.
    bits : int
        From 2 on: indices in [1 - 2^(bits - 1), 2^(bits - 1) - 1].
    by_row : bool
        Whether each row has a scale of its own, of a byte.

    Returns
    -------
    network : Network
    saved : float
        Bytes that it takes less than with 8 bits a value; scales of tables are not counted.
    """
    made, saved = copy.deepcopy(network), 0.0
    for name, bags in bags_of(made).items():
        weight = made.get_parameter(f"{name}.weight").data
        for table, (first, last) in zip(weight.split(bags.rows), ranges[name], strict=True):
            table[first:last] = _rounded(table[first:last], bits, by_row)
            saved += (last - first) * (weight.shape[1] * (8 - bits) / 8 - by_row)
    return made, saved


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

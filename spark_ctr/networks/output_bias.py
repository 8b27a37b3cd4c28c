"""The bias that a network adds to all of its logits."""

from __future__ import annotations

import torch

from spark_ctr.networks.network import Network

_PLACES = ("output.bias", "numeric.bias", "fusion.x.bias")


@torch.no_grad()
def add_to_logits(network: Network, amount: float) -> bool:
    """Add a number to the bias of a network's logits, in place.

    Returns
    -------
    bool
        Whether it has such a bias; a module of the user's own is left as it is.
    """
    parameters = dict(network.named_parameters())
    place = next((name for name in _PLACES if name in parameters), None)
    if place is None:
        return False
    parameters[place].add_(amount)
    return True

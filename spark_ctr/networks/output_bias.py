"""The bias that a network adds to all of its logits."""

from __future__ import annotations

import torch

from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.networks.network import Network


@torch.no_grad()
def add_to_logits(network: Network, amount: float) -> bool:
    """Add a number to the bias of a network's logits, in place.

    Returns
    -------
    bool
        Whether it has such a bias; a module of the user's own is left as it is.
    """
    if isinstance(network, Ensemble):
        return all(add_to_logits(member, amount) for member in network.members)
    bias = dict(network.named_parameters()).get(network.logit_bias)
    if bias is not None:
        bias.add_(amount)
    return bias is not None

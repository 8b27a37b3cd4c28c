"""Bias, slope and offset of a network's logits: where they start, and how they are mapped last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.networks.network import Network


def has_logit_bias(network: Network) -> bool:
    """Return whether `start_at` knows the bias of a network's logits; not of a user's module."""
    if isinstance(network, Ensemble):
        return all(map(has_logit_bias, network.members))
    return _bias(network) is not None


@torch.no_grad()
def start_at(
    network: Network,
    log_odds: float | Sequence[float],
    sample: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Have an untrained network start at the base rate of a log, in place.

    The first epochs of a network that starts at even odds go into finding the base rate, which is
    known. The bias of the logits is set; in a module of the user's own, where no bias is known, an
    offset is added to its logits, which moves their mean over the sample to the log-odds.

    Parameters
    ----------
    network : Network
        As built; in evaluation mode.
    log_odds : float or sequence of float
        Of a click, or of each task, in the training rows.
    sample : (Tensor [B, ids_width], Tensor [B, M]), optional
        Ids and numeric values of some training rows; without it, a module of the user's own is
        taken to have logits around 0.
    """
    if isinstance(network, Ensemble):
        for member in network.members:
            start_at(member, log_odds, sample)
        return
    bias = _bias(network)
    if bias is not None:
        bias.copy_(torch.as_tensor(log_odds).expand(len(network.tasks))[: len(bias)])
        return
    line = network.get_buffer("logit_calibration")
    mean = torch.zeros(len(line)) if sample is None else network(*sample).double().mean(0)
    if mean.isfinite().all():
        line[:, 1] += torch.as_tensor(log_odds, dtype=torch.float64) - mean


@torch.no_grad()
def map_logits(network: Network, slope: float, offset: float, task: int = 0) -> None:
    """Have a network return `slope` times a task's logit plus `offset` from now on, in place.

    Of an `Ensemble`, each member does, so that they may be trained on as they are.
    """
    if isinstance(network, Ensemble):
        for member in network.members:
            map_logits(member, slope, offset, task)
        return
    line = network.get_buffer("logit_calibration")[task]
    line.mul_(slope)
    line[1].add_(offset)


@torch.no_grad()
def absorb_slope(network: Network) -> None:
    """Move the slope of `map_logits` into the weights, in place, for training to go on.

    A network that is recalibrated every day would collect ever smaller slopes, and learn ever more
    slowly. What moves is a power of two, so that logits stay what they are, bit for bit; where no
    `Network.logit_parts` are known ("fm", "deepfm", a module of the user's own) all stays.
    """
    if isinstance(network, Ensemble):
        for member in network.members:
            absorb_slope(member)
        return
    slopes = network.get_buffer("logit_calibration")[:, 0]
    parts = [p for name, p in network.named_parameters() if name.startswith(network.logit_parts)]
    if not parts or not (slopes > 0).all():
        return
    # Tasks share weights below their logits, so one power serves all.
    power = 2.0 ** round(slopes.double().log2().mean().item())
    for part in parts:
        part.mul_(power)
    slopes.div_(power)


def _bias(network: Network) -> Tensor | None:
    bias = dict(network.named_parameters()).get(network.logit_bias)
    wanted = (len(network.tasks) - len(network.derived_tasks),)
    return bias if bias is not None and bias.shape == wanted else None

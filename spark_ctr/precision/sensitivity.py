"""Which layers bear 1-bit weights: the loss each costs alone, and the plan that follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.networks.network import Network
from spark_ctr.precision.qat import BINARY, INT8, prepare, quantisable_layers


@dataclass(frozen=True)
class Sensitivity:
    """Sensitivity of the layers of a network to 1-bit weights.

    Parameters
    ----------
    rows : int
        Rows of the sample.
    log_loss : float
        Weighted log loss (nats) of the FP32 network on the sample.
    increase : dict of str to float
        Increase of the log loss when only that layer is 1-bit, without training, by candidate
        layer in depth order. Negative where the layer loses nothing.
    layers : list of str
        Every quantisable layer, candidates included.
    """

    rows: int
    log_loss: float
    increase: dict[str, float]
    layers: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def binary_candidates(network: Network) -> list[str]:
    """Return the linear layers between two hidden layers of a perceptron, in module order.

    The first layer of a perceptron reads the embeddings and what follows its last gives the logit:
    both keep 8 bits, as in most binary networks (Rastegari et al., XNOR-Net, ECCV 2016).
    """
    return [
        f"{name}.layers.{layer}.linear"
        for name, module in network.named_modules()
        if isinstance(module, MLP)
        for layer in list(module.layers)[1:]
    ]


@torch.no_grad()
def measure_sensitivity(
    network: Network, batches: Iterable[Any], max_rows: int = 65_536
) -> Sensitivity:
    """Measure by how much each candidate layer, 1-bit alone, raises the validation log loss.

    Parameters
    ----------
    network : Network
        The trained FP32 network; left as it is.
    batches : iterable of Batch
        Validation rows, `feed.batches(0)`; read only until `max_rows` are there.
    max_rows : int
        Bound of the sample, which stays in memory with the activations of a batch.

    Returns
    -------
    Sensitivity

    Raises
    ------
    ValueError
        If there are no rows, or their weights sum to 0.
    """
    sample, rows = [], 0
    for batch in batches:
        left = max_rows - rows
        weight = batch.weight[:, None]
        of_labels = weight if batch.counted is None else weight * batch.counted
        parts = (batch.ids, batch.numeric, batch.label, of_labels, batch.weight)
        sample.append([part[:left] for part in parts])
        rows += len(sample[-1][0])
        if rows >= max_rows:
            break
    if rows == 0 or sum(float(weight.sum()) for *_, weight in sample) <= 0:
        raise ValueError(
            "measuring sensitivity needs validation rows of positive weight, and there are none; "
            "give a larger validation share"
        )
    base = _log_loss(network, sample)
    calibration = (sample[0][0], sample[0][1])
    increase = {
        name: _log_loss(prepare(network, {name: BINARY}, calibration), sample) - base
        for name in binary_candidates(network)
    }
    return Sensitivity(rows, base, increase, quantisable_layers(network))


def _log_loss(network: Network, sample: list[list[Tensor]]) -> float:
    training = network.training
    network.eval()
    loss = total = 0.0
    for ids, numeric, label, of_labels, weight in sample:
        logits = network(ids, numeric)
        loss += float(
            functional.binary_cross_entropy_with_logits(logits, label, of_labels, reduction="sum")
        )
        total += float(weight.sum())
    network.train(training)
    return loss / total


def choose_plan(sensitivity: Sensitivity, binary_share: float) -> dict[str, str]:
    """Make the least sensitive candidate layers 1-bit and everything else 8-bit.

    Parameters
    ----------
    sensitivity : Sensitivity
        From `measure_sensitivity`.
    binary_share : float
        Share of the candidate layers to make 1-bit, in [0, 1], rounded to whole layers (half
        upwards). Of equally sensitive layers the deeper goes first.

    Returns
    -------
    dict of str to {"int8", "binary"}
        Precision of every quantisable layer.

    Raises
    ------
    ValueError
        If the share is outside [0, 1].
    """
    if not 0 <= binary_share <= 1:
        raise ValueError(f"binary_share must be in [0, 1], got {binary_share}")
    ranked = least_sensitive_first(sensitivity)
    return plan_of(sensitivity, ranked[: int(binary_share * len(ranked) + 0.5)])


def least_sensitive_first(sensitivity: Sensitivity) -> list[str]:
    """Return the candidate layers; of equally sensitive ones the deeper goes first."""
    depth = {name: i for i, name in enumerate(sensitivity.increase)}
    return sorted(depth, key=lambda name: (sensitivity.increase[name], -depth[name]))


def plan_of(sensitivity: Sensitivity, binary: Collection[str]) -> dict[str, str]:
    """Return the plan that makes these layers 1-bit and all others 8-bit."""
    return {name: BINARY if name in binary else INT8 for name in sensitivity.layers}

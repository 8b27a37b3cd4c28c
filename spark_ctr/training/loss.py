"""Losses on logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over rows; 0 where all weights are 0.

    Parameters
    ----------
    values, weight : Tensor, float32, [B]
    """
    return (values * weight).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def weighted_bce(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the binary cross-entropy.

    Parameters
    ----------
    logits, label, weight : Tensor, float32, [B]
    """
    return weighted_mean(
        F.binary_cross_entropy_with_logits(logits, label, reduction="none"), weight
    )


def click_loss(network: Network, batch: Batch) -> Tensor:
    """Weighted binary cross-entropy of the network on one batch: the trainer's default loss."""
    return weighted_bce(network(batch.ids, batch.numeric), batch.label, batch.weight)

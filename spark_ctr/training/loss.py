"""Losses on logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch


def weighted_mean(values: Tensor, weight: Tensor, known: Tensor | None = None) -> Tensor:
    """Weighted mean over rows, summed over tasks; 0 where all weights are 0.

    Parameters
    ----------
    values : Tensor, float32, [B] or [B, T]
    weight : Tensor, float32, [B]
    known : Tensor, bool or float32, [B, T], optional
        Values that count, or what each counts for. The others are 0 and their rows count, so that a
        label weighs the same whatever batch it comes in, and parts of a batch add up.
    """
    total = weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
    values = values if known is None else values * known
    tasks = values.unbind(1) if values.ndim == 2 else [values]
    means = [(task * weight).sum() / total for task in tasks]
    return means[0] if len(means) == 1 else torch.stack(means).sum()


def weighted_bce(
    logits: Tensor,
    label: Tensor,
    weight: Tensor,
    logit_shift: float = 0.0,
    known: Tensor | None = None,
) -> Tensor:
    """Weighted mean of the binary cross-entropy, summed over tasks.

    Parameters
    ----------
    logits, label : Tensor, float32, [B] or [B, T]
    weight, known : Tensor
        As in `weighted_mean`.
    logit_shift : float
        Added to the logits: what choosing rows by their label added to the log-odds, so that the
        logits without it are those of all rows (see `spark_ctr.rows.negative_sampling`).
    """
    shifted = logits + logit_shift if logit_shift else logits
    losses = F.binary_cross_entropy_with_logits(shifted, label, reduction="none")
    return weighted_mean(losses, weight, known)


def members_bce(logits: Tensor, batch: Batch, logit_shift: float = 0.0) -> Tensor:
    """Weighted binary cross-entropy of logits [members, B, T].

    Of several members it is the mean, with the gradients that each would have alone.
    """
    return sum_of_members(
        [weighted_bce(of, batch.label, batch.weight, logit_shift, batch.counted) for of in logits]
    )


def sum_of_members(losses: list[Tensor]) -> Tensor:
    """Return the mean of the members' losses, with the gradients that each would have alone."""
    if len(losses) == 1:
        return losses[0]
    total = torch.stack(losses).sum()
    # A mean's gradients would be weaker against the penalty of the tables.
    return total - (1 - 1 / len(losses)) * total.detach()


def task_losses(logits: Tensor, batch: Batch) -> list[Tensor]:
    """Weighted binary cross-entropy of each task, as `weighted_bce` adds it up.

    Parameters
    ----------
    logits : Tensor, float32, [B, T]
    batch : Batch
    """
    losses = F.binary_cross_entropy_with_logits(logits, batch.label, reduction="none")
    if batch.counted is not None:
        losses = losses * batch.counted
    return [weighted_mean(task, batch.weight) for task in losses.unbind(1)]


def click_loss(network: Network, batch: Batch, logit_shift: float = 0.0) -> Tensor:
    """Cross-entropy of the network, or of each member, on one batch: the trainer's default loss."""
    return members_bce(network.member_logits(batch.ids, batch.numeric), batch, logit_shift)

"""Scores of a feed's rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.ranks import Ranks


class Feed(Protocol):
    """Source of batches, see `training.feeds`."""

    rows: int

    @property
    def steps(self) -> int:
        """Batches of an epoch, as many on every process."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""


@dataclass(frozen=True)
class Predictions:
    """Logits, labels and weights of a feed's rows, in the feed's order.

    Attributes
    ----------
    logit, label : ndarray, float64, [N, T]
        A label that is not known is nan.
    weight : ndarray, float64, [N] or [N, T]
        Of the row, or of each of its labels.
    """

    logit: np.ndarray
    label: np.ndarray
    weight: np.ndarray

    def of_task(self, task: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return label, logit and weight [n] of the rows whose label of a task is known."""
        label, logit = self.label[:, task], self.logit[:, task]
        # One task's labels are all known, and nan in them is for metrics to refuse.
        rows = slice(None) if self.label.shape[1] == 1 else ~np.isnan(label)
        weight = self.weight if self.weight.ndim == 1 else self.weight[:, task]
        return label[rows], logit[rows], weight[rows]


def predict(
    network: Network, feed: Feed, device: str = "cpu", ranks: Ranks | None = None
) -> Predictions:
    """Score all rows of a feed in evaluation mode; `network` must be on `device` already.

    Where several `ranks` have a part of the rows each, every one gets the scores of all.
    """
    target = torch.device(device)
    training = network.training
    network.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for batch in feed.batches(0):
            if target.type != "cpu":
                network.check_ids(batch.ids)
            logits = network(batch.ids.to(target), batch.numeric.to(target))
            label = batch.label
            if batch.known is not None:
                label = label.masked_fill(~batch.known, math.nan)
            weight = batch.weight
            if batch.label_weight is not None:
                weight = weight[:, None] * batch.label_weight
            parts.append((logits, label, weight))
    network.train(training)
    none = torch.zeros(0, len(network.tasks))
    columns = zip(*(parts or [(none, none, torch.zeros(0))]), strict=True)
    return Predictions(*(_to_numpy(column, ranks or Ranks()) for column in columns))


def _to_numpy(column: Sequence[Tensor], ranks: Ranks) -> np.ndarray:
    return ranks.gather(torch.cat(list(column))).double().cpu().numpy()

"""Scores of a feed's rows."""

from __future__ import annotations

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
    """Logits, labels and weights of a feed's rows, float64 arrays [N] in the feed's order."""

    logit: np.ndarray
    label: np.ndarray
    weight: np.ndarray


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
            parts.append((logits, batch.label, batch.weight))
    network.train(training)
    columns = zip(*parts, strict=True) if parts else ([], [], [])
    return Predictions(*(_to_numpy(column, ranks or Ranks()) for column in columns))


def _to_numpy(column: Sequence[Tensor], ranks: Ranks) -> np.ndarray:
    rows = torch.cat(list(column)) if column else torch.zeros(0)
    return ranks.gather(rows).double().cpu().numpy()

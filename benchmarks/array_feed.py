"""Arrays in memory as the batches that `spark_ctr.training` trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from spark_ctr.training.feeds import Batch


class ArrayFeed:
    """Rows of a log as batches, in another order each epoch.

    Parameters
    ----------
    ids : int32 array [rows, ids a row]
    label : array [rows]
    batch_size, seed : int
    """

    def __init__(self, ids: np.ndarray, label: np.ndarray, batch_size: int, seed: int) -> None:
        self.rows = len(label)
        self._ids, self._label = torch.from_numpy(ids), torch.from_numpy(label.astype(np.float32))
        self._batch_size, self._seed = batch_size, seed
        self._ones, self._none = torch.ones(batch_size), torch.zeros(batch_size, 0)

    def steps(self, epoch: int) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""
        generator = torch.Generator().manual_seed(1000 * self._seed + epoch)
        for rows in torch.randperm(self.rows, generator=generator).split(self._batch_size)[start:]:
            few = slice(len(rows))
            yield Batch(self._ids[rows], self._none[few], self._label[rows], self._ones[few])

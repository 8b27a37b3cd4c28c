"""Arrays in memory as the batches that `spark_ctr.training` trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from spark_ctr.training.feeds import Batch


class ArrayFeed:
    """Rows of a log as batches, in another order each epoch.

    Parameters
    ----------
    ids : int32 array [rows, ids a row]
    label : array [rows]
    batch_size, seed : int
    numeric : float32 array [rows, numeric columns], optional
    """

    def __init__(
        self,
        ids: np.ndarray,
        label: np.ndarray,
        batch_size: int,
        seed: int,
        numeric: np.ndarray | None = None,
    ) -> None:
        self.rows = len(label)
        self._ids, self._label = torch.from_numpy(ids), torch.from_numpy(label.astype(np.float32))
        none = np.zeros((self.rows, 0), np.float32)
        self._numeric = torch.from_numpy(none if numeric is None else numeric)
        self._batch_size, self._seed = batch_size, seed
        self._ones = torch.ones(batch_size)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""
        generator = torch.Generator().manual_seed(1000 * self._seed + epoch)
        for rows in torch.randperm(self.rows, generator=generator).split(self._batch_size)[start:]:
            yield self._batch(rows)

    def _batch(self, rows: Tensor) -> Batch:
        return Batch(
            self._ids[rows], self._numeric[rows], self._label[rows], self._ones[: len(rows)]
        )

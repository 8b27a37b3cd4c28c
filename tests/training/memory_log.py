"""A feed of rows in memory, and a click log that a small network can learn."""

import numpy as np
import torch

from spark_ctr.networks import Inputs, Table
from spark_ctr.training.feeds.batch import Batch

# Small networks, and training by the loss alone.
DNN = {"hidden_layers": [128, 64, 64], "dropout": 0.1, "batch_norm": False}
DCNV2 = {"hidden_layers": [256, 128, 64], "dropout": 0.1, "batch_norm": False, "cross_layers": 2}
PLAIN = {"embedding_l2": 0.0, "average_weights": False, "recalibrate": False, "seed": 0}


class MemoryFeed:
    """Feed over one big batch; shuffled by (seed, epoch) if a seed is given."""

    kind = "memory"

    def __init__(self, rows: Batch, batch_size: int, seed: int | None = None) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self.rows = rows.rows

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0):
        """Yield every row once, but for the first `start` batches."""
        order = np.arange(self.rows)
        if self._seed is not None:
            order = np.random.default_rng((self._seed, epoch)).permutation(self.rows)
        for first in range(start * self._batch_size, self.rows, self._batch_size):
            at = torch.as_tensor(order[first : first + self._batch_size])
            r = self._rows
            known = None if r.known is None else r.known[at]
            yield Batch(r.ids[at], r.numeric[at], r.label[at], r.weight[at], known)


INPUTS = Inputs((Table("site", 12, 4), Table("ad", 9, 4), Table("hour", 5, 2)), ("age", "price"))


def click_rows(n: int, seed: int = 0) -> Batch:
    """Draw rows whose click depends on site, on site with ad, and on age."""
    draw = np.random.default_rng(seed)
    ids = np.stack([draw.integers(0, table.rows, n) for table in INPUTS.tables], 1)
    numeric = draw.normal(size=(n, 2))
    logit = 1.5 * np.sin(ids[:, 0]) + np.cos(ids[:, 0] * ids[:, 1]) + 0.8 * numeric[:, 0] - 0.7
    label = draw.random(n) < 1 / (1 + np.exp(-logit))
    return Batch(
        torch.tensor(ids, dtype=torch.int32),
        torch.tensor(numeric, dtype=torch.float32),
        torch.tensor(label, dtype=torch.float32),
        torch.tensor(draw.uniform(0.5, 2.0, n), dtype=torch.float32),
    )

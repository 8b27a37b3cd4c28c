"""Rows in memory with a teacher's logits, and rows that nobody saw beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.array_feed import ArrayFeed
from benchmarks.measure import cpu_seconds
from benchmarks.model_zoo_logs import Rows
from spark_ctr.networks import Inputs, Network
from spark_ctr.tables.column_groups import column_groups
from spark_ctr.training.feeds import Batch

_BATCH = 16_384
# As LayerwiseDistiller has them.
COPIES, SAMPLE = 4, 16_384


def logits_of(network: Network, rows: Rows) -> np.ndarray:
    """Logits of the first task, float32 [rows], in the order of the rows."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(rows.ids[at]), torch.from_numpy(rows.numeric[at]))[:, 0]
            for at in np.split(np.arange(len(rows.label)), range(_BATCH, len(rows.label), _BATCH))
        ]
    return torch.cat(parts).numpy()


def groups_of(rows: Rows, inputs: Inputs) -> list[tuple[Tensor, Tensor]]:
    """Return the positions of each group's columns among ids and among numeric columns.

    They are the groups of `LayerwiseDistiller`, of columns that determine one another.
    """
    few = slice(0, SAMPLE)
    groups = column_groups(rows.ids[few], rows.numeric[few], inputs)
    names = [table.name for table in inputs.slot_tables], inputs.numeric
    return [(_positions(names[0], group), _positions(names[1], group)) for group in groups]


def _positions(names: Sequence[str], group: Collection[str]) -> Tensor:
    return torch.tensor([i for i, name in enumerate(names) if name in group], dtype=torch.long)


class TaughtRows:
    """Rows with a teacher's logits, and mixed rows that nobody saw with theirs.

    Parameters
    ----------
    rows : Rows
    inputs : Inputs
    teacher : Network
    seed : int

    Attributes
    ----------
    logits : Tensor, float32, [rows, 1]
    mixed : Tensor, int32, [COPIES, rows, ids a row]; None before `mix`
    mixed_numeric, mixed_logits : Tensor
        Of the mixed rows.
    seconds : dict of str to float
        CPU time of the logits of the rows, and of the mixed ones.
    """

    def __init__(self, rows: Rows, inputs: Inputs, teacher: Network, seed: int) -> None:
        self.rows, self._inputs, self._teacher, self._seed = rows, inputs, teacher, seed
        before = cpu_seconds()
        self.logits = torch.from_numpy(logits_of(teacher, rows))[:, None]
        self.seconds = {"rows": cpu_seconds() - before}
        self.mixed: Tensor | None = None

    def mix(self) -> None:
        """Draw the mixed rows, each group of columns from a row by itself, and label them."""
        if self.mixed is not None:
            return
        before = cpu_seconds()
        draws = torch.Generator().manual_seed(self._seed)
        count = len(self.rows.label)
        ids, numeric = torch.from_numpy(self.rows.ids), torch.from_numpy(self.rows.numeric)
        self.mixed = ids.new_empty(COPIES, count, ids.shape[1])
        self.mixed_numeric = numeric.new_empty(COPIES, count, numeric.shape[1])
        for id_columns, numeric_columns in groups_of(self.rows, self._inputs):
            drawn = torch.randint(count, (COPIES, count, 1), generator=draws)
            self.mixed[:, :, id_columns] = ids[drawn, id_columns]
            self.mixed_numeric[:, :, numeric_columns] = numeric[drawn, numeric_columns]
        none = np.zeros(count, np.float32)
        found = [
            logits_of(self._teacher, Rows(ids.numpy(), numeric.numpy(), none))
            for ids, numeric in zip(self.mixed, self.mixed_numeric, strict=True)
        ]
        self.mixed_logits = torch.from_numpy(np.stack(found))[:, :, None]
        self.seconds["mixed"] = cpu_seconds() - before


class TaughtFeed(ArrayFeed):
    """An `ArrayFeed` whose batches carry the teacher's logits.

    Parameters
    ----------
    taught : TaughtRows
    batch_size, seed : int
    unseen : bool
        Whether a batch has as many mixed rows beside its own, another copy each epoch.
    """

    def __init__(self, taught: TaughtRows, batch_size: int, seed: int, unseen: bool) -> None:
        rows = taught.rows
        super().__init__(rows.ids, rows.label, batch_size, seed, rows.numeric)
        self._taught, self._unseen = taught, unseen

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""
        draws = torch.Generator().manual_seed(1000 * self._seed + epoch + 500)
        order = torch.randperm(self.rows, generator=draws).split(self._batch_size)
        for step, batch in enumerate(super().batches(epoch, start), start):
            if self._unseen:
                batch.unlabelled = self._mixed(order[step], epoch % COPIES)
            yield batch

    def _mixed(self, rows: Tensor, copy: int) -> Batch:
        taught = self._taught
        assert taught.mixed is not None
        logits = taught.mixed_logits[copy, rows]
        none = torch.zeros_like(logits)
        ids, numeric = taught.mixed[copy, rows], taught.mixed_numeric[copy, rows]
        return Batch(ids, numeric, none, torch.ones(len(rows)), none.bool(), teacher=logits)

    def _batch(self, rows: Tensor) -> Batch:
        batch = super()._batch(rows)
        batch.teacher = self._taught.logits[rows]
        return batch

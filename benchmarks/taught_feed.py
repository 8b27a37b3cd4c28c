"""Rows in memory with a teacher's logits, and rows that nobody saw beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.array_feed import ArrayFeed
from benchmarks.model_zoo_logs import Rows
from spark_ctr.networks import Inputs, Network
from spark_ctr.training.feeds import Batch

_BATCH = 16_384


def logits_of(network: Network, rows: Rows) -> np.ndarray:
    """Logits of the first task, float32 [rows], in the order of the rows."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(rows.ids[at]), torch.from_numpy(rows.numeric[at]))[:, 0]
            for at in np.split(np.arange(len(rows.label)), range(_BATCH, len(rows.label), _BATCH))
        ]
    return torch.cat(parts).numpy()


def column_groups(inputs: Inputs, groups: Sequence[Sequence[str]]) -> list[tuple[Tensor, Tensor]]:
    """Return the positions of each group's columns among ids and among numeric columns.

    Columns are named as before cleaning, so that one name may be that of a number and its bucket.
    What no group names is one more group; a name that the log lacks is passed over, as selection
    may have left out its column.
    """
    parts = [
        [name.removesuffix("_clean").removesuffix("_bucket") for name in names]
        for names in ([table.name for table in inputs.slot_tables], inputs.numeric)
    ]
    named = {name for group in groups for name in group}
    rest = {name for names in parts for name in names} - named
    return [
        (_positions(parts[0], group), _positions(parts[1], group))
        for group in (*groups, rest)
        if {*group} & {name for names in parts for name in names}
    ]


def _positions(names: Sequence[str], group: Collection[str]) -> Tensor:
    return torch.tensor([i for i, name in enumerate(names) if name in group], dtype=torch.long)


class TaughtFeed(ArrayFeed):
    """An `ArrayFeed` whose batches carry the teacher's logits.

    Parameters
    ----------
    rows : Rows
    teacher : Network
        Its logits of the rows are computed here, once.
    batch_size, seed : int
    groups : list, optional
        Of `column_groups`. With them a batch has as many unlabelled rows as others, new ones each
        time: every group of columns is that of a row drawn by itself.

    Attributes
    ----------
    teacher_logits : Tensor, float32, [rows, 1]
    """

    def __init__(
        self,
        rows: Rows,
        teacher: Network,
        batch_size: int,
        seed: int,
        groups: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__(rows.ids, rows.label, batch_size, seed, rows.numeric)
        self._teacher, self._groups = teacher, groups
        self.teacher_logits = torch.from_numpy(logits_of(teacher, rows))[:, None]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once, but for the first `start` batches."""
        for step, batch in enumerate(super().batches(epoch, start), start):
            if self._groups is not None:
                batch.unlabelled = self.recombined(batch.rows, epoch, step)
            yield batch

    def recombined(self, count: int, epoch: int, step: int) -> Batch:
        """Return rows that nobody saw with the teacher's logits: those of this step."""
        state = np.random.SeedSequence([self._seed, epoch, step]).generate_state(1)
        draws = torch.Generator().manual_seed(int(state[0]))
        ids = self._ids.new_empty(count, self._ids.shape[1])
        numeric = self._numeric.new_empty(count, self._numeric.shape[1])
        for id_columns, numeric_columns in self._groups or ():
            drawn = torch.randint(self.rows, (count, 1), generator=draws)
            ids[:, id_columns] = self._ids[drawn, id_columns]
            numeric[:, numeric_columns] = self._numeric[drawn, numeric_columns]
        with torch.no_grad():
            logits = self._teacher(ids, numeric)
        none = torch.zeros_like(logits)
        return Batch(ids, numeric, none, torch.ones(count), none.bool(), teacher=logits)

    def _batch(self, rows: Tensor) -> Batch:
        batch = super()._batch(rows)
        batch.teacher = self.teacher_logits[rows]
        return batch

"""Batches of labelled rows, each with a batch of further rows that only a teacher has labelled."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

import torch

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.feed import Feed, open_feed


class UnlabelledFeed:
    """The batches of a feed, each with the next batch of another in `Batch.unlabelled`.

    Unlabelled rows go round and round, in another order each time. Which of their batches comes
    is a function of (epoch, step) alone, so that training resumes where it was.

    Parameters
    ----------
    feed : Feed
        Of the labelled rows, which decide how long an epoch is.
    unlabelled : Feed
        Of rows with teacher's logits, opened for the same rank; its labels are not used.

    Attributes
    ----------
    rows : int
        Labelled rows per epoch of all ranks together.
    kind : str
        Reader of the labelled rows.

    Raises
    ------
    ValueError
        If there are no unlabelled rows.
    """

    def __init__(self, feed: Feed, unlabelled: Feed) -> None:
        if not unlabelled.rows:
            raise ValueError("the feed of unlabelled rows has no rows: leave it out")
        self.rows, self.kind = feed.rows, feed.kind
        self._feed, self._unlabelled = feed, unlabelled

    @property
    def steps(self) -> int:
        """Batches in an epoch, those of the labelled feed."""
        return self._feed.steps

    def batches(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Iterate over an epoch but for its first `start` batches, see `Feed.batches`.

        Where a rank has run out of rows of a kind before others, that part has no rows.
        """
        further = self._further(epoch * self.steps + start)
        with closing(self._feed.batches(epoch, start)) as batches, closing(further):
            for batch in batches:
                rows = next(further)
                none = torch.zeros(rows.rows, batch.label.shape[1])
                rows = replace(rows, label=none, known=none.bool())
                yield replace(batch, unlabelled=rows)

    def _further(self, position: int) -> Generator[Batch, None, None]:
        """Yield the batches of unlabelled rows from the one at `position` of all epochs on."""
        first, step = divmod(position, self._unlabelled.steps)
        for turn in count(first):
            yield from self._unlabelled.batches(turn, step if turn == first else 0)


def open_training_feed(
    labelled: dict[str, Any], unlabelled: dict[str, Any] | None, rank: int = 0, ranks: int = 1
) -> Feed | UnlabelledFeed:
    """Open the feed of training rows, with unlabelled ones where there are any.

    Parameters
    ----------
    labelled, unlabelled : dict
        Arguments of `open_feed` but for the rank.
    rank, ranks : int
    """
    feed = open_feed(**labelled, rank=rank, ranks=ranks)
    if unlabelled is None:
        return feed
    return UnlabelledFeed(feed, open_feed(**unlabelled, rank=rank, ranks=ranks))

"""From an earlier encoding of some columns to one that knows more values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spark_ctr.hashing import Vocabulary

logger = logging.getLogger("spark_ctr")


@dataclass(frozen=True)
class EarlierEncoding:
    """Columns of an earlier fit; none by default, and then nothing changes.

    Parameters
    ----------
    columns : sequence of dict
        Facts of each column: name, buckets, seed, values (elements read of an array), ...
    vocabularies : sequence of Vocabulary
        One a column.
    shared : bool
        Whether the columns share one table of buckets.
    """

    columns: Sequence[dict[str, Any]] = ()
    vocabularies: Sequence[Vocabulary] = field(default=())
    shared: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [facts["name"] for facts in self.columns]

    def check(self, names: list[str], arrays: list[str], shared_buckets: int) -> None:
        """Refuse what cannot grow from these columns, and tell of columns that go.

        Raises
        ------
        TypeError
            If a column was an array and is none, or the other way round.
        ValueError
            If columns share a table of another size, or of their own.
        """
        if not self.columns:
            return
        for facts in self.columns:
            was_array, name = facts["values"] > 0, facts["name"]
            if name in names and was_array != (name in arrays):
                raise TypeError(
                    f"column {name!r} (inputCols) {'was' if was_array else 'was not'} an array "
                    "when initialModel was fitted: cast it, or fit without initialModel"
                )
        buckets = self.columns[0]["buckets"] if self.shared else 0
        if shared_buckets != buckets:
            raise ValueError(
                f"sharedBuckets is {shared_buckets}, but {buckets} in initialModel: set it to "
                f"{buckets}, or fit without initialModel"
            )
        gone = [name for name in self.names if name not in names]
        if gone:
            logger.warning("columns of initialModel that are not encoded any more: %s", gone)

    def grown(
        self, columns: list[dict[str, Any]], heads: list[np.ndarray]
    ) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Return today's columns and private values, as they grow from the earlier ones.

        Parameters
        ----------
        columns : list of dict
            Facts of today's fit alone.
        heads : list of int64 array
            Hashes of the values frequent today, most frequent first.
        """
        known = dict(
            zip(self.names, zip(self.columns, self.vocabularies, strict=True), strict=True)
        )
        seeds = {facts["seed"] for facts in self.columns}
        grown_columns, grown_heads = [], []
        for today, head in zip(columns, heads, strict=True):
            if today["name"] in known:
                facts, vocabulary = known[today["name"]]
                kept = vocabulary.head
                new = head[~np.isin(head, kept)]
                today = {
                    **facts,
                    "unread": today["unread"],
                    "values": max(facts["values"], today["values"]),
                    "earlier": vocabulary.fingerprint,
                }
                head = np.concatenate([kept, new])
            elif known:
                today = today | {"seed": _unused(today["seed"], seeds)}
                if self.shared:
                    today["dim"] = self.columns[0]["dim"]
            seeds.add(today["seed"])
            grown_columns.append(today)
            grown_heads.append(head)
        return grown_columns, grown_heads


def in_order(names: list[str], earlier: list[str], key: Callable[[str], str]) -> list[str]:
    """Return names with the known ones first, in their earlier order and spelling.

    Parameters
    ----------
    names, earlier : list of str
    key : function
        Equal for names of one column.
    """
    today, before = set(map(key, names)), set(map(key, earlier))
    known = [name for name in earlier if key(name) in today]
    return known + [name for name in names if key(name) not in before]


def _unused(seed: int, seeds: set[int]) -> int:
    """Return the first seed from this one on that no column has: columns hash apart."""
    while seed in seeds:
        seed += 1
    return seed

"""Which values have a private embedding row: what `benchmarks.selection` compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.selection_logs import Log
from spark_ctr.power_law import (
    ColumnDecision,
    ColumnStats,
    CountHistogram,
    fit_discrete,
    joint_relevance,
    label_relevance,
)

SAMPLE = 100_000  # rows that `joint_relevance` sees


@dataclass(frozen=True)
class Plan:
    """The private values of each kept column, by its position in the log; sorted codes."""

    private: dict[int, np.ndarray]

    @property
    def rows(self) -> int:
        """Embedding rows: the private ones, and two a column, for missing and for all others."""
        return sum(2 + len(values) for values in self.private.values())

    def ids(self, codes: np.ndarray) -> np.ndarray:
        """Embedding rows of codes [N, columns], int32 [N, kept columns]."""
        ids = np.empty((len(codes), len(self.private)), np.int32)
        for place, (column, values) in enumerate(self.private.items()):
            at = np.searchsorted(values, codes[:, column])
            known = np.append(values, -1)[at] == codes[:, column]
            ids[:, place] = np.where(known, 2 + at, 1)
        return ids


class Counted:
    """What the counting pass knows of a log's training rows.

    Attributes
    ----------
    values, counts, positives : list of int64 array
        Of each column, by code.
    stats : list of ColumnStats
    """

    def __init__(self, log: Log, seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(len(log.train))[:SAMPLE]
        sample = {name: log.train[rows, c] for c, name in enumerate(log.columns)}
        joint = joint_relevance(sample, log.train_label[rows])
        self.log = log
        self.values, self.counts, self.positives, self.stats = [], [], [], []
        for name, codes in zip(log.columns, log.train.T, strict=True):
            values, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
            positives = np.bincount(inverse, log.train_label).astype(np.int64)
            head = counts >= 2
            table = counts[head], positives[head], counts[~head].sum(), positives[~head].sum()
            told = [label_relevance(*table, z=z) for z in (0, 3, -2)]
            histogram = CountHistogram.from_counts(counts)
            fit = fit_discrete(histogram)
            self.stats.append(
                ColumnStats(name, histogram, 0, fit, told[0], joint[name], told[1], told[2])
            )
            self.values.append(values)
            self.counts.append(counts)
            self.positives.append(positives)

    def at_least(self, count: int, kept: list[int] | None = None) -> Plan:
        """Private rows for values seen so often, in all columns or those at these positions."""
        columns = range(len(self.values)) if kept is None else kept
        return Plan({c: self.values[c][self.counts[c] >= count] for c in columns})

    def decided(self, decisions: list[ColumnDecision]) -> Plan:
        """Return the plan of our rule."""
        kept = {c: d for c, d in enumerate(decisions) if d.decision != "drop"}
        return Plan({c: self.values[c][self.counts[c] >= d.min_count] for c, d in kept.items()})

    def min_count(self, budget: int) -> Plan:
        """Return the plan of the smallest common count that fits the budget."""
        every = np.sort(np.concatenate(self.counts))
        private = max(0, budget - 2 * len(self.values))
        excluded = every[: max(0, len(every) - private)]
        return self.at_least(max(2, int(excluded[-1]) + 1 if len(excluded) else 2))

    def optimum(self, budget: int) -> Plan:
        """Return the plan of the most frequent values, but those seen once."""
        column = np.repeat(np.arange(len(self.values)), [len(v) for v in self.values])
        counts, values = np.concatenate(self.counts), np.concatenate(self.values)
        best = np.argsort(-counts, kind="stable")[: max(0, budget - 2 * len(self.values))]
        best = best[counts[best] >= 2]
        return Plan({c: np.sort(values[best[column[best] == c]]) for c in range(len(self.values))})

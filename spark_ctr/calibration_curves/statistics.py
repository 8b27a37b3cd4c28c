"""Sufficient statistics of calibration: what was predicted and seen by slot and score bin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spark_ctr.calibration_curves.bins import Floats, Integers, ScoreBins, log_odds

NO_SLOT = -1
SUMS = ("rows", "weight", "clicks", "predicted")


@dataclass(frozen=True, eq=False)
class SlotStatistics:
    """Cells of (slot, score bin) that have rows, by slot and bin.

    Attributes
    ----------
    bins : ScoreBins
    keys : int64 array [S]
        One a slot, increasing: the hash of its name.
    slot : int64 array [C]
        Place of the cell's slot in ``keys``; -1 for rows that have no slot.
    bin : int64 array [C]
    rows : float64 array [C]
        Rows, which forgetting makes fractions.
    weight, clicks, predicted : float64 array [C]
        Sums of weights, of weights of clicks, and of weight times score.
    squares : float
        Sum of all squared weights.
    """

    bins: ScoreBins
    keys: Integers
    slot: Integers
    bin: Integers
    rows: Floats
    weight: Floats
    clicks: Floats
    predicted: Floats
    squares: float

    @classmethod
    def of_rows(
        cls,
        probability: ArrayLike,
        label: ArrayLike,
        slot: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        bins: int = 128,
    ) -> SlotStatistics:
        """Sum rows up; what Spark does for a large dataset.

        Parameters
        ----------
        probability, label, weight : array_like [N]
        slot : int array [N], optional
            Key of each row's slot.
        bins : int
        """
        p, y = (np.asarray(values, dtype=np.float64) for values in (probability, label))
        w = np.ones_like(p) if weight is None else np.asarray(weight, dtype=np.float64)
        keys, place = np.zeros(0, np.int64), np.full(len(p), NO_SLOT)
        if slot is not None:
            keys, place = np.unique(np.asarray(slot, dtype=np.int64), return_inverse=True)
        sums = {"rows": np.ones_like(p), "weight": w, "clicks": w * y, "predicted": w * p}
        score_bins = ScoreBins(bins)
        squares = float(np.square(w).sum())
        return cls.of_cells(score_bins, keys, place, score_bins.of(p), sums, squares)

    @classmethod
    def of_cells(
        cls,
        bins: ScoreBins,
        keys: Integers,
        slot: Integers,
        bin_: Integers,
        sums: dict[str, Floats],
        squares: float,
    ) -> SlotStatistics:
        """Add up cells, in any order and with repeats."""
        cell = (np.asarray(slot, np.int64) + 1) * bins.count + bin_
        used, place = np.unique(cell, return_inverse=True)
        added = {
            name: np.bincount(place, sums[name], len(used)).astype(np.float64) for name in SUMS
        }
        return cls(bins, keys, used // bins.count - 1, used % bins.count, squares=squares, **added)

    @property
    def slots(self) -> int:
        """Number of slots."""
        return len(self.keys)

    @property
    def logit(self) -> Floats:
        """Log-odds of each cell's mean score, float64 [C]; of a cell without weight nan."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return log_odds(self.predicted / self.weight)

    @property
    def evidence(self) -> float:
        """Rows of weight 1 that say as much as a unit of weight does, sum w / sum w^2."""
        return float(self.weight.sum()) / self.squares if self.squares > 0 else 0.0

    def by_bin(self) -> SlotStatistics:
        """Return the sums over all slots, one cell a bin."""
        none = np.full(len(self.bin), NO_SLOT)
        keys = np.zeros(0, np.int64)
        return self.of_cells(self.bins, keys, none, self.bin, self._sums(), self.squares)

    def by_slot(self, values: Floats) -> Floats:
        """Sum values of cells by slot, float64 [S]; cells without a slot are left out."""
        own = self.slot >= 0
        return np.bincount(self.slot[own], values[own], self.slots).astype(np.float64)

    def weighted(self) -> SlotStatistics:
        """Leave out cells whose weight is 0, which say nothing; all slots stay."""
        kept = self.weight > 0
        sums = {name: values[kept] for name, values in self._sums().items()}
        slot, bin_ = self.slot[kept], self.bin[kept]
        return self.of_cells(self.bins, self.keys, slot, bin_, sums, self.squares)

    def merged(self, earlier: SlotStatistics, forgetting: float) -> SlotStatistics:
        """Add earlier statistics, each sum times a factor; slots in either are kept.

        Parameters
        ----------
        earlier : SlotStatistics
        forgetting : float
            In [0, 1]: 1 keeps all that was seen, 0 forgets it.

        Raises
        ------
        ValueError
            If the bins differ.
        """
        if earlier.bins != self.bins:
            raise ValueError(
                f"the earlier statistics have {earlier.bins.count} score bins, these "
                f"{self.bins.count}: sums of different bins cannot be added"
            )
        keys = np.union1d(self.keys, earlier.keys).astype(np.int64)
        # The last place is for cells without a slot, whose -1 takes it.
        places = [
            np.append(np.searchsorted(keys, one.keys), NO_SLOT)[one.slot] for one in (self, earlier)
        ]
        ours, theirs = self._sums(), earlier._sums()
        sums = {name: np.concatenate([ours[name], forgetting * theirs[name]]) for name in SUMS}
        # A weight that is forgotten by half is half a weight: its square falls by the square.
        squares = self.squares + forgetting**2 * earlier.squares
        bin_ = np.concatenate([self.bin, earlier.bin])
        return self.of_cells(self.bins, keys, np.concatenate(places), bin_, sums, squares)

    def without_faded(self, least: float) -> SlotStatistics:
        """Drop slots whose rows fell below a bound; what is left of them has no slot."""
        kept = self.by_slot(self.rows) >= least
        place = np.append(np.where(kept, np.cumsum(kept) - 1, NO_SLOT), NO_SLOT)
        return self.of_cells(
            self.bins, self.keys[kept], place[self.slot], self.bin, self._sums(), self.squares
        )

    def _sums(self) -> dict[str, Floats]:
        return {name: getattr(self, name) for name in SUMS}

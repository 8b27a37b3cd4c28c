"""What the selection rule knows about a categorical column, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .fit import PowerLawFit
from .histogram import CountHistogram
from .joint import JointRelevance


@dataclass(frozen=True)
class ColumnStats:
    """What the rule knows about one categorical column.

    Attributes
    ----------
    name : str
    histogram : CountHistogram
        Of the non-missing values.
    missing : int
        Rows in which the column is missing.
    fit : PowerLawFit or None
        From `fit_discrete(histogram)`.
    relevance : float or None
        From `label_relevance`; None when not measured, which never drops the column.
    joint : JointRelevance or None
        From `joint_relevance`; None when not measured. Where no column has it, counts alone decide
        who gets rows.
    sure_relevance : float or None
        From `label_relevance` with z = 3, over the whole log: above 0, chance is ruled out, even
        where the sample of `joint` was too small to see it.
    possible_relevance : float or None
        From `label_relevance` with z = -2, over the whole log: what the column may tell for all
        that is known.
    """

    name: str
    histogram: CountHistogram
    missing: int = 0
    fit: PowerLawFit | None = None
    relevance: float | None = None
    joint: JointRelevance | None = None
    sure_relevance: float | None = None
    possible_relevance: float | None = None


@dataclass(frozen=True)
class ColumnDecision:
    """What becomes of one column.

    Attributes
    ----------
    name : str
    decision : {"drop", "keep_whole", "head_and_tail"}
    min_count : int
        Frequency cut: values with count >= min_count get a private row each.
    private, buckets : int
        Private rows, and hashed rows for all other values, seen or unseen.
    dim : int
        Embedding dimension, 0 for a dropped column.
    coverage : float
        Share of the non-missing rows whose value has a private row.
    expected_collisions : float
        Expected tail values beyond the first in their bucket, under uniform hashing.
    fit_accepted : bool
        Whether the power-law fit was good enough to size the tail.
    reason : str
        One sentence for the report.
    """

    name: str
    decision: Literal["drop", "keep_whole", "head_and_tail"]
    min_count: int
    private: int
    buckets: int
    dim: int
    coverage: float
    expected_collisions: float
    fit_accepted: bool
    reason: str

    @property
    def rows(self) -> int:
        """Rows of the embedding table: missing + head + buckets; 0 for a dropped column."""
        return 0 if self.decision == "drop" else 1 + self.private + self.buckets


def embedding_dimension(rows: int, scale: float = 1.0) -> int:
    """Return scale * rows**(1/4), rounded to a multiple of 4, within [4, 16].

    The fourth root is the common rule of thumb (DeepCTR uses 6 * V**0.25); 16 is the BARS
    dimension for Criteo, and multiples of 4 keep packed rows byte-aligned.
    """
    return int(min(16, max(4, 4 * round(scale * rows**0.25 / 4))))

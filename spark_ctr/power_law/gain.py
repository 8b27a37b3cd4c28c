"""What an occurrence is worth in each column: the label information that a private row holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .columns import ColumnStats

# What a column adds to another one begins to count before that one has rows, else none would start.
_AT_FIRST = 0.1
# A column that says nothing in pairs may still do so in threes: its rows come last, not never.
_LEAST = 0.003


@dataclass(frozen=True)
class Information:
    """What one occurrence in a private row tells, as a share of the label's variance.

    Attributes
    ----------
    alone : float
        Of itself.
    beside : float
        In addition, in a row whose value of the partner has a private row too.
    partner : str or None
        The other column.
    possible : float
        What it may tell of itself for all that is known, `alone` or more.
    """

    alone: float = 1.0
    beside: float = 0.0
    partner: str | None = None
    possible: float = 0.0

    def rate(self, coverage: float) -> float:
        """Return what an occurrence is worth when the partner's private rows cover this share."""
        return self.alone + self.beside * max(coverage, _AT_FIRST)

    def most(self, coverage: float) -> float:
        """Return what an occurrence may be worth for all that is known."""
        return max(self.alone, self.possible) + self.beside * max(coverage, _AT_FIRST)


def information(columns: Sequence[ColumnStats]) -> dict[str, Information]:
    """Return for each column what the occurrences of its values tell about the label.

    The measure is the share of the label that the column explains alone, and what it adds to the
    other column beside which it explains most.

    Parameters
    ----------
    columns : sequence of ColumnStats

    Returns
    -------
    dict of str to Information
        1 for every column, so that only counts decide, when `relevance` is lacking in one or
        `joint` in all, or none says anything.
    """
    shares: dict[str, tuple[float, float]] = {}
    if all(column.joint is None for column in columns):
        return {column.name: Information() for column in columns}
    for column in columns:
        if column.relevance is None:
            return {c.name: Information() for c in columns}
        joint = column.joint.share if column.joint is not None else 0.0
        # where neither the sample nor the log rules out chance, the estimate is noise around 0
        alone = column.relevance if joint > 0 or column.sure_relevance else 0.0
        if column.joint is not None and column.joint.partner is None:
            alone = max(alone, joint)  # of rare labels, entropy may miss what the variance shows
        shares[column.name] = alone, max(joint - alone, 0.0)
    most = max((alone + beside for alone, beside in shares.values()), default=0.0)
    if most <= 0:
        return {c.name: Information() for c in columns}
    return {
        c.name: Information(
            shares[c.name][0] + _LEAST * most,
            shares[c.name][1],
            c.joint.partner if c.joint is not None else None,
            _possible(c),
        )
        for c in columns
    }


def _possible(column: ColumnStats) -> float:
    """Return the largest share that a column may tell alone, for all that is known."""
    if column.possible_relevance is not None:
        return column.possible_relevance
    unseen = column.joint is not None and not column.joint.share and not column.sure_relevance
    return column.joint.detectable if column.joint is not None and unseen else 0.0

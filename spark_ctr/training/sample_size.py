"""Whether a click log holds enough clicks to learn from."""

from __future__ import annotations

# With fewer, the standard error of an AUC of 0.7 is above 0.009 (Hanley and McNeil, 1982),
# more than the differences between models that matter.
ENOUGH_EVENTS = 1_000


def too_few_events(positives: int, rows: int) -> str | None:
    """Warn in a sentence if the rarer class has fewer than 1,000 rows; None if it has enough."""
    if min(positives, rows - positives) >= ENOUGH_EVENTS:
        return None
    return (
        f"{positives:,} click{'s'[positives == 1 :]} in {rows:,} rows carry too little to learn "
        f"from: below {ENOUGH_EVENTS:,} rows of the rarer class, differences between models are "
        "mostly noise"
    )

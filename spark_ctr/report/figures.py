"""How the report words its numbers."""

from __future__ import annotations

import math
from typing import Any

ABSENT = "–"


def decimals(value: Any, places: int = 4) -> str:
    """Write a fixed number of decimals; a dash for None and nan."""
    return ABSENT if _missing(value) else f"{value:,.{places}f}"


def signed(value: Any, places: int = 4) -> str:
    """Write a change with its sign, also that of none."""
    if _missing(value):
        return ABSENT
    return f"{'−' if value < 0 else '+'}{abs(value):,.{places}f}"


def whole(value: Any) -> str:
    """Whole number with thousands separated."""
    return ABSENT if _missing(value) else f"{value:,.0f}"


def significant(value: Any, digits: int = 3) -> str:
    """So many significant digits."""
    if _missing(value):
        return ABSENT
    if value == 0 or not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(value: Any, places: int = 1) -> str:
    """Share as a percentage."""
    return ABSENT if _missing(value) else f"{100 * value:,.{places}f} %"


def size(value: Any) -> str:
    """Bytes in decimal units: 1 kB is 1000 bytes."""
    if _missing(value):
        return ABSENT
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{significant(value / scale)} {unit}"
    return f"{value:,.0f} B"


def seconds(value: Any) -> str:
    """Duration in seconds, or minutes and seconds."""
    if _missing(value):
        return ABSENT
    if value < 60:
        return f"{significant(value, 2)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes:,} min {rest} s"


FILTERS = {
    "decimals": decimals,
    "whole": whole,
    "significant": significant,
    "percent": percent,
    "size": size,
    "seconds": seconds,
}


def _missing(value: Any) -> bool:
    return not isinstance(value, (int, float)) or not math.isfinite(value)

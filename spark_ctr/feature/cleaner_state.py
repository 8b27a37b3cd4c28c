"""What a saved ClickLogCleanerModel must hold to mean anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_COUNTS = ("rows", "missing", "invalid", "changed")


def check_state(state: Any, numeric: Sequence[str], transform: str) -> None:
    """Check the state of a fitted model.

    Parameters
    ----------
    state : dict
        As read from a file.
    numeric : sequence of str
        Names of the numeric columns.
    transform : str
        The Param ``numericTransform``.

    Raises
    ------
    ValueError
        Names the part and what is wrong with it.
    """
    state = _mapping("the state", state)
    for name in ("rows", "skipped"):
        _count(name, state.get(name))
    facts = _mapping("numeric", state.get("numeric"))
    if set(facts) != set(numeric):
        raise ValueError(
            f"numeric has statistics of {', '.join(sorted(map(str, facts))) or 'no column'}, "
            f"but numericCols names {', '.join(sorted(numeric)) or 'none'}"
        )
    for name in numeric:
        _check_numeric(f"numeric.{name}", facts[name], "quantile" in transform)
    if not isinstance(state.get("report"), list):
        raise ValueError("report is not a list")
    for index, row in enumerate(state["report"]):
        row = _mapping(f"report[{index}]", row)
        for key in ("column", "kind"):
            if not isinstance(row.get(key), str):
                raise ValueError(f"report[{index}].{key} is not a text: {row.get(key)!r}")
        for key in _COUNTS:
            _count(f"report[{index}].{key}", row.get(key))


def _check_numeric(part: str, facts: Any, with_cuts: bool) -> None:
    facts = _mapping(part, facts)
    _finite(f"{part}.mean", facts.get("mean"))
    _positive(f"{part}.std", facts.get("std"))
    if "origin" in facts:
        for key in ("origin", "mean_from_origin"):
            _finite(f"{part}.{key}", facts.get(key))
        for key in ("unit", "std_in_units"):
            _positive(f"{part}.{key}", facts.get(key))
        _finite(f"{part}.origin in units", float(facts["origin"]) / facts["unit"])
        if isinstance(facts["origin"], int) and not -(2**63) <= facts["origin"] < 2**63:
            raise ValueError(f"{part}.origin is no integer of 64 bits: {facts['origin']}")
    if not with_cuts:
        return
    cuts = facts.get("cuts")
    if not isinstance(cuts, list):
        raise ValueError(f"{part}.cuts is not a list")
    for cut in cuts:
        _finite(f"{part}.cuts", cut)
    if any(low >= high for low, high in pairwise(cuts)):
        raise ValueError(f"{part}.cuts do not rise")


def _mapping(part: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{part} is not a mapping")
    return value


def _count(part: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{part} is not a count: {value!r}")


def _finite(part: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{part} is not a number: {value!r}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{part} is not a finite number: {value!r}")


def _positive(part: str, value: Any) -> None:
    _finite(part, value)
    if value <= 0:
        raise ValueError(f"{part} is not positive: {value!r}")

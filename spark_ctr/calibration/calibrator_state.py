"""The state of a saved ProbabilityCalibratorModel, as tensors, and checked on the way back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy

from spark_ctr.calibration_curves import (
    BetaCurve,
    Calibration,
    Curve,
    LinearCurve,
    ScoreBins,
    SlotStatistics,
)
from spark_ctr.calibration_curves.placement import Placement
from spark_ctr.calibration_curves.statistics import SUMS
from spark_ctr.stage.saved_values import SavedValues

_MOST_BINS = 4096
_CELLS = ("slot", "bin", *SUMS)
_SLOTS = ("keys", "offset", "slope")


def no_statistics() -> SlotStatistics:
    """Return the sums of no rows."""
    return SlotStatistics.of_rows([], [], [])


@dataclass(frozen=True, eq=False)
class CalibratorState:
    """What a fit leaves: the calibration, and the sums that a later fit goes on from.

    Attributes
    ----------
    calibration : Calibration
    statistics : SlotStatistics
    names : dict of int to list of str
        Texts of each slot's values, by key.
    facts : dict
        rows, ones, and skipped: what the last fit read.
    """

    calibration: Calibration = field(
        default_factory=lambda: Calibration(
            BetaCurve(1.0, 1.0, 0.0), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), {}
        )
    )
    statistics: SlotStatistics = field(default_factory=no_statistics)
    names: dict[int, list[str]] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "ones": 0, "skipped": 0})

    @cached_property
    def placement(self) -> Placement:
        """Places of the slots, searched for once."""
        return Placement.of(self.calibration.keys)

    def saved(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return JSON and payload."""
        curve, statistics = self.calibration.curve, self.statistics
        tensors = {name: getattr(statistics, name) for name in _CELLS}
        tensors |= {name: getattr(self.calibration, name) for name in _SLOTS}
        tensors["squares"] = np.array([statistics.squares])
        if isinstance(curve, LinearCurve):
            tensors["curve"] = curve.values
        else:
            tensors["curve"] = np.array([curve.a, curve.b, curve.c])
        names = [self.names[int(key)] for key in self.calibration.keys]
        state = {
            "curve": "linear" if isinstance(curve, LinearCurve) else "beta",
            "bins": statistics.bins.count,
            "shrinkage": self.calibration.shrinkage,
            **self.facts,
        }
        text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
        arrays = {name: np.ascontiguousarray(values) for name, values in sorted(tensors.items())}
        return state, {
            "sums.safetensors": safetensors.numpy.save(arrays),
            "slots.json": text.encode(),
        }

    @classmethod
    def restored(cls, state: dict[str, Any], payload: dict[str, bytes]) -> CalibratorState:
        """Take back what `saved` gave.

        Raises
        ------
        ValueError
            If a value is missing, of another kind or out of range, or values do not fit together.
        """
        values = SavedValues(state, "the state")
        bins = ScoreBins(values.whole("bins", 1, _MOST_BINS))
        facts = {name: values.whole(name, 0, 2**63 - 1) for name in ("rows", "ones", "skipped")}
        tensors = _tensors(payload["sums.safetensors"])
        keys = tensors["keys"]
        names = _names(payload["slots.json"], len(keys))
        statistics = _statistics(bins, tensors)
        curve = _curve(values.text("curve", "linear", "beta"), tensors["curve"])
        shrinkage = state.get("shrinkage")
        if not isinstance(shrinkage, dict) or not all(
            type(value) is float and value > 0 for value in shrinkage.values()
        ):
            raise ValueError(f"shrinkage must be positive numbers by name, but is {shrinkage!r}")
        offset, slope = tensors["offset"], tensors["slope"]
        if not offset.shape == slope.shape == keys.shape or not (slope > 0).all():
            raise ValueError("offset and slope must be one a slot, and slopes above 0")
        calibration = Calibration(curve, keys, offset, slope, shrinkage)
        by_key = dict(zip(map(int, keys), names, strict=True))
        return cls(calibration, statistics, by_key, facts)


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    try:
        found = safetensors.numpy.load(data)
    except Exception as error:  # safetensors has an exception of its own
        raise ValueError(f"sums.safetensors is damaged: {error}") from None
    whole = {"slot", "bin", "keys"}
    for name in (*_CELLS, *_SLOTS, "squares", "curve"):
        kind = np.int64 if name in whole else np.float64
        values = found.get(name)
        if values is None or values.dtype != kind or values.ndim != 1:
            raise ValueError(f"{name} of sums.safetensors must be a {kind.__name__} vector")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of sums.safetensors is not finite")
    return found


def _statistics(bins: ScoreBins, tensors: dict[str, np.ndarray]) -> SlotStatistics:
    cells = {name: tensors[name] for name in _CELLS}
    if len({len(values) for values in cells.values()}) > 1:
        raise ValueError("the columns of the sums differ in length")
    keys, slot, bin_ = tensors["keys"], cells["slot"], cells["bin"]
    if (np.diff(keys) <= 0).any():
        raise ValueError("the slots' keys must increase")
    if len(slot) and (slot.min() < -1 or slot.max() >= len(keys)):
        raise ValueError("a sum is of a slot that is not there")
    if len(bin_) and (bin_.min() < 0 or bin_.max() >= bins.count):
        raise ValueError(f"a sum is of a bin outside of 0 to {bins.count - 1}")
    if (np.diff((slot + 1) * bins.count + bin_) <= 0).any():
        raise ValueError("the sums must be in the order of slots and bins, one each")
    slack = 1e-9 * (1.0 + cells["weight"])
    wrong = any((cells[name] < 0).any() for name in SUMS)
    if wrong or any((cells[n] > cells["weight"] + slack).any() for n in ("clicks", "predicted")):
        raise ValueError("sums must not be negative, nor clicks and scores more than the weights")
    squares = tensors["squares"]
    if len(squares) != 1 or squares[0] < 0:
        raise ValueError("squares must be one number, not negative")
    return SlotStatistics(bins, keys, squares=float(squares[0]), **cells)


def _curve(kind: str, values: np.ndarray) -> Curve:
    if kind == "linear":
        if not 2 <= len(values) <= 64 * _MOST_BINS or (np.diff(values) <= 0).any():
            raise ValueError("the curve must be increasing values")
        return LinearCurve(values)
    if len(values) != 3 or min(values[:2]) < 0 or not max(values[:2]) > 0:
        raise ValueError("the curve must be two slopes, not negative, and an offset")
    return BetaCurve(*map(float, values))


def _names(data: bytes, count: int) -> list[list[str]]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"slots.json is damaged: {error}") from None
    valid = isinstance(found, list) and len(found) == count
    if not valid or not all(
        isinstance(one, list) and one and all(isinstance(text, str) for text in one)
        for one in found
    ):
        raise ValueError(f"slots.json must be the texts of {count} slots")
    return found

"""Mean 0 and deviation 1 for numbers of any size, precise relative to their spread."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

_DIGITS = 10  # of the spread: the order in which Spark sums must not show
_PLAIN = (1e-100, 1e100)  # spreads whose squares a double holds
_LOW_BITS = 20


@dataclass(frozen=True)
class Frame:
    """Where to measure numbers from, and in what unit, so that their moments can be summed.

    Attributes
    ----------
    origin : int or float
        In the middle of the numbers; an int for bigint columns, whose numbers a double rounds.
    unit : float
        A power of two near the spread where a double could not hold the spread's square, else 1.
    spread : float
        A power of two, at most the largest number less the smallest; 0 if all are equal.
    """

    origin: int | float
    unit: float
    spread: float

    @classmethod
    def around(cls, low: int | float, high: int | float) -> Frame:
        """Return the frame for finite numbers from ``low`` to ``high``."""
        if low == high:
            return cls(low, 1.0, 0.0)
        width = min(float(high - low), sys.float_info.max)
        spread = math.ldexp(1.0, math.frexp(width)[1] - 1)
        origin = (low + high) // 2 if isinstance(low, int) else low / 2 + high / 2
        return cls(origin, 1.0 if _PLAIN[0] < spread < _PLAIN[1] else spread, spread)

    def measure(self, number: Column, kind: T.DataType) -> Column:
        """Return numbers of a type less the origin, in units, as doubles; rounded last."""
        if isinstance(self.origin, int) and isinstance(kind, T.LongType):
            # Each half fits a double, and so does its difference; bigints could overflow.
            mask = (1 << _LOW_BITS) - 1
            high = F.shiftright(number, _LOW_BITS).cast(T.DoubleType())
            low = number.bitwiseAND(F.lit(mask)).cast(T.DoubleType())
            high = high - F.lit(float(self.origin >> _LOW_BITS))
            low = low - F.lit(float(self.origin & mask))
            return high * F.lit(float(mask + 1)) + low
        number = number.cast(T.DoubleType())
        if self.unit == 1.0:
            return number - F.lit(float(self.origin))
        # Divided first, or the difference of two of the largest doubles would be infinite.
        return number / F.lit(self.unit) - F.lit(float(self.origin) / self.unit)


@dataclass(frozen=True)
class Standardisation:
    """What turns numbers into numbers of mean 0 and deviation 1.

    Attributes
    ----------
    frame : Frame
    mean, deviation : float
        Of the numbers as the frame measures them.
    """

    frame: Frame
    mean: float
    deviation: float

    @classmethod
    def of(cls, frame: Frame, mean: float, deviation: float | None) -> Standardisation:
        """Return it for the measured moments, less digits in which summation shows."""
        if not frame.spread or not deviation:
            return cls(frame, 0.0, 1.0)
        step = frame.spread / frame.unit
        return cls(frame, round(mean / step, _DIGITS) * step, float(f"{deviation:.{_DIGITS}g}"))

    def apply(self, number: Column, kind: T.DataType) -> Column:
        """Return the standardised numbers of a column's type."""
        measured = self.frame.measure(number, kind)
        return (measured - F.lit(self.mean)) / F.lit(self.deviation)

    def facts(self) -> dict[str, Any]:
        """Return mean and deviation as plain numbers, and what `from_facts` takes."""
        frame = self.frame
        largest = sys.float_info.max
        mean = Fraction(frame.origin) + Fraction(self.mean) * Fraction(frame.unit)
        mean = min(max(mean, Fraction(-largest)), Fraction(largest))
        deviation = min(self.deviation * frame.unit, largest) or math.ulp(0.0)
        return {
            "mean": float(mean),
            "std": deviation,
            "origin": frame.origin,
            "unit": frame.unit,
            "mean_from_origin": self.mean,
            "std_in_units": self.deviation,
        }

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Standardisation:
        """Return what `facts` came from; models of earlier versions have ``mean`` and ``std``."""
        if "origin" not in facts:
            return cls(Frame(facts["mean"], 1.0, 0.0), 0.0, facts["std"])
        frame = Frame(facts["origin"], facts["unit"], 0.0)
        return cls(frame, facts["mean_from_origin"], facts["std_in_units"])

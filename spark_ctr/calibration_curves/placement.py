"""A perfect hash of slots: where a key's values are is two look-ups, however many slots there are.

Spark searches a map literal from its beginning for every row, and an array has no binary search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spark_ctr.calibration_curves.bins import Floats, Integers

# Keys are cut to 31 bits and multipliers below 2**31, so that no product overflows 64 bits.
KEY_SHIFT, PRODUCT_SHIFT = 33, 20
_KEYS_PER_BUCKET, _LEAST_PLACES_PER_KEY = 4, 1.25
_MOST_MULTIPLIER = 2**31 - 1
_TRIES = 1000


@dataclass(frozen=True, eq=False)
class Placement:
    """Places of different 64-bit keys in a table: ``(key >>> 33) * m >>> 20``, cut to the table.

    The multiplier m is that of the key's bucket, its lowest bits.

    Attributes
    ----------
    multipliers : int64 array [B]
        B is a power of 2.
    keys : int64 array [M]
        Key at each place, 0 where there is none; M is a power of 2.
    """

    multipliers: Integers
    keys: Integers

    @classmethod
    def of(cls, keys: Integers) -> Placement:
        """Find multipliers under which no two keys share a place, the fullest bucket first."""
        rng = np.random.default_rng(0)
        buckets = _power_of_two(len(keys) // _KEYS_PER_BUCKET)
        size = _power_of_two(math.ceil(len(keys) * _LEAST_PLACES_PER_KEY))
        while True:
            found = _placed(keys, buckets, size, rng)
            if found is not None:
                return found
            buckets *= 2  # keys of one bucket that are alike in what is multiplied

    def places(self, keys: Integers) -> Integers:
        """Return the place of each key; whether it is there, the table says."""
        multiplier = self.multipliers[keys & (len(self.multipliers) - 1)]
        return _places(keys, multiplier, len(self.keys))

    def table(self, keys: Integers, values: Floats) -> Floats:
        """Return the values at their keys' places, and 0 elsewhere, float64 [M]."""
        table = np.zeros(len(self.keys))
        table[self.places(keys)] = values
        return table


def _placed(keys: Integers, buckets: int, size: int, rng: np.random.Generator) -> Placement | None:
    bucket = keys & (buckets - 1)
    order = np.argsort(bucket, kind="stable")
    ends = np.searchsorted(bucket[order], np.arange(buckets + 1))
    multipliers = np.ones(buckets, np.int64)
    table, taken = np.zeros(size, np.int64), np.zeros(size, bool)
    for one in np.argsort(-np.diff(ends), kind="stable"):
        members = keys[order[ends[one] : ends[one + 1]]]
        if not len(members):
            break
        for _ in range(_TRIES):
            multiplier = rng.integers(1, _MOST_MULTIPLIER) | 1
            places = _places(members, multiplier, size)
            if not taken[places].any() and len({*places.tolist()}) == len(members):
                break
        else:
            return None
        multipliers[one], table[places], taken[places] = multiplier, members, True
    return Placement(multipliers, table)


def _places(keys: Integers, multiplier: Integers | int, size: int) -> Integers:
    high = (keys.astype(np.uint64) >> np.uint64(KEY_SHIFT)).astype(np.int64)
    return (high * multiplier >> PRODUCT_SHIFT) & (size - 1)


def _power_of_two(least: int) -> int:
    return 1 << max(0, int(least) - 1).bit_length()

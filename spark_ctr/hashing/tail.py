"""Hashing schemes of the values without a private row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .value_hash import seeded_hash

SCHEMES = ("modulo", "double", "quotient_remainder")


@dataclass(frozen=True)
class TailHash:
    """Rows of a hashed value among a column's buckets.

    Parameters
    ----------
    scheme : {"modulo", "double", "quotient_remainder"}
        modulo: one row, ``pmod(hash(seed), buckets)`` (feature hashing, Weinberger et al. 2009).
        double: two rows, the second with seed ``~seed``, so that values share both only seldom
        (Zhang et al., "Model size reduction using frequency based double hashing for recommender
        systems", RecSys 2020).
        quotient_remainder: with ``q = buckets // 2`` and ``m = buckets - q``, remainder and
        quotient by m of ``pmod(hash(seed), m * q)``, in two separate blocks of m and q rows (Shi
        et al., "Compositional embeddings using complementary partitions", KDD 2020).
    buckets : int
        Rows of the tail, >= 1. The schemes of two rows need two buckets; with one, every scheme
        is modulo.
    seed : int
        Of the column; in [-2**63, 2**63).
    signed : bool
        Whether a hashed row counts positively or negatively, by the sign of the seeded hash that
        chose it (quotient_remainder: one sign for both).

    Raises
    ------
    ValueError
        For an unknown scheme or fewer than one bucket.
    """

    scheme: str
    buckets: int
    seed: int
    signed: bool = False

    def __post_init__(self) -> None:
        """Validate."""
        if self.scheme not in SCHEMES:
            raise ValueError(f"hash scheme must be one of {', '.join(SCHEMES)}: {self.scheme!r}")
        if self.buckets < 1:
            raise ValueError(f"a tail needs at least one bucket: {self.buckets}")

    @property
    def slots(self) -> int:
        """Rows that a value is hashed to: 1 or 2."""
        return 1 if self.scheme == "modulo" or self.buckets == 1 else 2

    def rows(self, hashes: np.ndarray) -> np.ndarray:
        """Return the rows of hashed values, counted from the first bucket.

        Parameters
        ----------
        hashes : int64 array, shape (n,)
            Of `value_hashes`.

        Returns
        -------
        int64 array, shape (n, slots)
            In [0, buckets); a row r that counts negatively is given as ``~r``.
        """
        first = seeded_hash(hashes, self.seed)
        if self.slots == 1:
            drawn, rows = first[:, None], (first % self.buckets)[:, None]
        elif self.scheme == "double":
            drawn = np.stack([first, seeded_hash(hashes, ~self.seed)], axis=1)
            rows = drawn % self.buckets
        else:
            quotients = self.buckets // 2
            remainders = self.buckets - quotients
            pair = first % (remainders * quotients)
            rows = np.stack([pair % remainders, remainders + pair // remainders], axis=1)
            drawn = first[:, None]
        return np.where(drawn < 0, ~rows, rows) if self.signed else rows

"""The 64-bit hash of a categorical value, and the hash of that hash under a column's seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xxhash

SPARK_SEED = 42  # of the built-in xxhash64 in Spark
_PRIME = tuple(
    np.uint64(p)
    for p in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)


def value_hash(text: str) -> int:
    """Return the xxHash64, seed 42, of the UTF-8 bytes of a text, as Spark's ``xxhash64(text)``.

    The bytes are hashed as they are: texts that differ only in Unicode normalisation differ, and
    so do ``"1"`` and ``"1.0"``. Numbers, dates and booleans are hashed as the text that Spark's
    ``CAST(value AS STRING)`` makes of them. Null has no hash.

    Returns
    -------
    int
        In [-2**63, 2**63).
    """
    unsigned = xxhash.xxh64_intdigest(text.encode(), SPARK_SEED)
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


def value_hashes(texts: Iterable[str]) -> np.ndarray:
    """Return `value_hash` of every text, int64, shape (n,)."""
    return np.fromiter(map(value_hash, texts), dtype=np.int64)


def _rotate(x: np.ndarray, bits: int) -> np.ndarray:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def seeded_hash(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Return the xxHash64 of the 8 little-endian bytes of `seed`, seeded with each value's hash.

    This is what Spark's ``xxhash64(value, CAST(seed AS BIGINT))`` gives.

    Parameters
    ----------
    hashes : int64 array
        Of `value_hashes`.
    seed : int
        In [-2**63, 2**63).

    Returns
    -------
    int64 array, the shape of `hashes`

    Raises
    ------
    OverflowError
        If the seed does not fit 64 bits.
    """
    p1, p2, p3, p4, p5 = _PRIME
    lane = np.array([np.int64(seed)]).view(np.uint64)
    x = np.asarray(hashes, dtype=np.int64).view(np.uint64) + p5 + np.uint64(8)
    x = x ^ (_rotate(lane * p2, 31) * p1)
    x = _rotate(x, 27) * p1 + p4
    x = (x ^ (x >> np.uint64(33))) * p2
    x = (x ^ (x >> np.uint64(29))) * p3
    return (x ^ (x >> np.uint64(32))).view(np.int64)

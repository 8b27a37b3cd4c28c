"""Random draws as pure functions of (key, row): the same row whatever the partitioning.

Every draw is a Spark column expression of built-in functions, so it runs on classic Spark and on
Spark Connect, in the JVM, without a Python worker.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

# Expressions are SQL text: one call per draw instead of dozens, which counts on Spark Connect too.


def uniform(stream: tuple[object, ...], *columns: str) -> Column:
    """Return a double uniform in the open interval (0, 1), one value per distinct ``columns``.

    The 52 upper bits of ``xxhash64(key of stream, *columns)``, at the middle of their interval, so
    that neither 0 nor 1 ever occurs.

    Parameters
    ----------
    stream
        Names one independent stream of draws: a seed, then names; anything with a stable ``str``.
    *columns
        Names of the columns the value is a function of.
    """
    return F.expr(_uniform(stream, *columns))


def hash_bits(stream: tuple[object, ...], *columns: str) -> Column:
    """Return a bigint, one value per distinct ``columns``; see `uniform`.

    Of one bigint column it is a bijection, so distinct rows give distinct bits.
    """
    return F.expr(_bits(stream, *columns))


def standard_normal(
    stream: tuple[object, ...], *columns: str, turn: tuple[float, str] | None = None
) -> Column:
    """Return a standard normal double, one value per distinct ``columns`` (Box-Muller).

    Parameters
    ----------
    stream, *columns
        See `uniform`.
    turn
        A factor and a column name; their product is the angle in radians by which the underlying
        normal pair is rotated. The result stays standard normal at any angle, and its correlation
        with the unrotated one is the angle's cosine.
    """
    radius = f"sqrt(-2.0D * ln({_uniform((*stream, 'radius'), *columns)}))"
    angle = f"{2.0 * math.pi!r}D * {_uniform((*stream, 'angle'), *columns)}"
    if turn is not None:
        angle += f" - {turn[0]!r}D * `{turn[1]}`"
    return F.expr(f"{radius} * cos({angle})")


def zipf_rank(
    stream: tuple[object, ...], *columns: str, vocabulary: int, exponent: float
) -> Column:
    """Return a rank in 1..vocabulary with probability close to proportional to rank ** -exponent.

    Inverse of the bounded continuous power law on [0.5, vocabulary + 0.5), rounded to the nearest
    rank: rank r gets the integral of x ** -exponent over [r - 0.5, r + 0.5), the midpoint rule for
    r ** -exponent. Exact for exponent 0 (uniform); relative to the Zipf law the weight of a rank is
    too large by about ``exponent (exponent + 1) / (24 r ** 2)``: for exponent 1 by 10 % at rank 1,
    2 % at rank 2 and under 0.1 % from rank 10 on.

    Parameters
    ----------
    stream, *columns
        See `uniform`.
    vocabulary
        Number of ranks, at least 1.
    exponent
        Zipf exponent, 0 or more; 1 included.

    Returns
    -------
    Column
        bigint.
    """
    low, high, draw = 0.5, vocabulary + 0.5, _uniform(stream, *columns)
    if exponent == 1.0:
        position = f"{low}D * exp({draw} * {math.log(high / low)!r}D)"
    else:
        power = 1.0 - exponent
        start, end = low**power, high**power
        position = f"pow({start!r}D + {draw} * {end - start!r}D, {1.0 / power!r}D)"
    # Rounding errors at either end may step over it.
    return F.expr(f"least(greatest(floor({position} + 0.5D), 1L), {vocabulary}L)")


def weighted_index(stream: tuple[object, ...], *columns: str, weights: Sequence[float]) -> Column:
    """Return an index 0..len(weights) - 1 drawn with probability proportional to its weight.

    Walker's alias method (Vose, 1991): exact, with two table look-ups however many weights.

    Parameters
    ----------
    stream, *columns
        See `uniform`.
    weights
        Non-negative, with a positive sum.

    Returns
    -------
    Column
        int.
    """
    threshold, alias = _alias_table(weights)
    cell = f"cast({_uniform(stream, *columns)} * {float(len(alias))!r}D as int)"
    keep = ", ".join(f"{value!r}D" for value in threshold)
    instead = ", ".join(map(str, alias))
    accept = _uniform((*stream, "accept"), *columns)
    return F.expr(
        f"if({accept} < element_at(array({keep}), {cell} + 1), {cell}, "
        f"element_at(array({instead}), {cell} + 1))"
    )


def _uniform(stream: tuple[object, ...], *columns: str) -> str:
    return f"((shiftrightunsigned({_bits(stream, *columns)}, 12) + 0.5D) * {2.0**-52!r}D)"


def _bits(stream: tuple[object, ...], *columns: str) -> str:
    text = "\x1f".join(map(str, stream)).encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
    return f"xxhash64({key}L, {', '.join(f'`{column}`' for column in columns)})"


def _alias_table(weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return per index the probability of keeping it, and the index to take otherwise."""
    count, total = len(weights), math.fsum(weights)
    threshold = [weight * count / total for weight in weights]
    alias = list(range(count))
    small = [index for index in range(count) if threshold[index] < 1.0]
    large = [index for index in range(count) if threshold[index] >= 1.0]
    while small and large:
        poor, rich = small.pop(), large[-1]
        alias[poor] = rich
        threshold[rich] -= 1.0 - threshold[poor]
        if threshold[rich] < 1.0:
            small.append(large.pop())
    for index in small + large:  # what rounding left over stands for itself
        threshold[index] = 1.0
    return threshold, alias

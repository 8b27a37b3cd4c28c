"""Buckets of numbers between quantiles, with one of its own for a value that would fill several."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.jvm import use_jvm_functions


def shares(buckets: int) -> list[float]:
    """Return the shares of the numbers that lie below the boundaries of even buckets."""
    return [index / buckets for index in range(1, buckets)]


def heavy_values(quantiles: Sequence[float]) -> list[float]:
    """Return the values that fill more than one bucket, rising."""
    return sorted({value for value in quantiles if quantiles.count(value) > 1})


def free_buckets(quantiles: Sequence[float], buckets: int) -> int:
    """Return how many buckets the heavy values leave to divide the others by; 0 for none."""
    heavy = heavy_values(quantiles)
    free = buckets - len(set(quantiles)) - len(heavy)
    return free if heavy and free > 1 else 0


def boundaries(quantiles: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return where buckets begin, rising: at the quantiles, and just above heavy values.

    Parameters
    ----------
    quantiles : sequence of float
        Of all numbers.
    others : sequence of float
        Of the numbers that are not heavy.
    """
    above = {math.nextafter(value, math.inf) for value in heavy_values(quantiles)}
    return sorted(cut for cut in {*quantiles, *others, *above} if cut < math.inf)


def bucket(dataset: DataFrame, number: Column, cuts: Sequence[float]) -> Column:
    """Return the number of the bucket of a double, as text; null for null, NaN and infinity.

    spark_ctr's JVM function ``ctr_cut`` where the dataset's session has it, else Spark's
    built-in functions.
    """
    if use_jvm_functions(dataset.sparkSession):
        boundaries = F.array(*[F.lit(cut) for cut in cuts]).cast("array<double>")
        return F.call_function("ctr_cut", number, boundaries)
    return F.when(F.abs(number) < math.inf, _search(number, cuts, 0))  # NaN is above it


def _search(number: Column, cuts: Sequence[float], first: int) -> Column:
    """Return the bucket of a finite number: a binary search that Spark compiles."""
    if not cuts:
        return F.lit(str(first))
    middle = len(cuts) // 2
    below = _search(number, cuts[:middle], first)
    above = _search(number, cuts[middle + 1 :], first + middle + 1)
    return F.when(number < F.lit(cuts[middle]), below).otherwise(above)

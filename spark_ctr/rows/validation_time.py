"""The latest rows of a dataset, as validation rows."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.stage.times import time_of

# The sketch is off by at most 1 / _ACCURACY of the rows; twice that much is searched exactly.
_ACCURACY = 10_000
_SLACK = 2 / _ACCURACY


def latest_cut(dataset: DataFrame, name: str, fraction: float) -> int | float | None:
    """Return the earliest time of the latest rows by a time column, as `time_of` has it.

    They are `fraction` of the rows with a time, or as close to it as can be where rows of one time
    stay together; at least one row, and the same however the dataset is partitioned. Takes two
    passes over this one column.

    Parameters
    ----------
    dataset : DataFrame
    name : str
        Column of one of `TIME_TYPES`.
    fraction : float
        In [0, 1).

    Returns
    -------
    int, float or None
        None for no rows.
    """
    return _cut(dataset.select(time_of(dataset, name).alias("t")).where("t IS NOT NULL"), fraction)


def since(dataset: DataFrame, name: str, cut: int | float | None) -> Column:
    """Return whether a row's time is not before a cut; false without a time, or for no cut."""
    if cut is None:
        return F.lit(False)
    return F.coalesce(time_of(dataset, name) >= F.lit(cut), F.lit(False))


def _cut(times: DataFrame, fraction: float) -> int | float | None:
    if fraction == 0:
        return None
    shares = [max(0.0, 1 - fraction - _SLACK), min(1.0, 1 - fraction + _SLACK)]
    found = times.agg(
        F.count("t").alias("rows"),
        F.percentile_approx("t", shares, _ACCURACY).alias("about"),
        F.min("t").alias("first"),
        F.max("t").alias("last"),
    ).collect()[0]
    if not found["rows"]:
        return None
    wanted = max(1, round(fraction * found["rows"]))
    cut = exact_cut(times, wanted, *found["about"])
    # Nothing promises the sketch's error, so a miss costs another pass and not the result.
    return exact_cut(times, wanted, found["first"], found["last"]) if cut is None else cut


def exact_cut(
    times: DataFrame, wanted: int, low: int | float, high: int | float
) -> int | float | None:
    """Return the time with about `wanted` rows at or after it.

    Of the two times with at least and with fewer rows it is the one that comes closer.

    Parameters
    ----------
    times : DataFrame
        Of the column t.
    wanted : int
        At least 1.
    low, high : int or float
        Where to look; few different times should lie between.

    Returns
    -------
    int, float or None
        None if the rows from `low` on are too few, or those above `high` are enough.
    """
    t, kind = F.col("t"), times.schema["t"].dataType
    groups = times.where(t >= F.lit(low)).groupBy(t <= F.lit(high), F.when(t <= F.lit(high), t))
    counts = groups.agg(F.min("t").alias("t"), F.count("t").alias("rows"))
    above = F.coalesce(F.sum(F.when(t > F.lit(high), F.col("rows"))), F.lit(0))
    # All times above `high` are one group, so the list is short.
    latest_first = F.sort_array(F.collect_list(F.struct("t", "rows")), asc=False)
    listed = counts.agg(above.alias("above"), latest_first.alias("groups"))

    def add(so_far: Column, group: Column) -> Column:
        more = F.struct(
            (so_far["rows"] + group["rows"]).alias("rows"),
            group["t"].alias("t"),
            so_far["rows"].alias("fewer"),
            so_far["t"].alias("later"),
        )
        return F.when(so_far["rows"] >= wanted, so_far).otherwise(more)

    nothing, none = F.lit(0).cast("long"), F.lit(None).cast(kind)
    start = F.struct(
        nothing.alias("rows"), none.alias("t"), nothing.alias("fewer"), none.alias("later")
    )
    reached = F.aggregate("groups", start, add).alias("reached")
    found = listed.select("above", reached).collect()[0]
    rows, cut, fewer, later = found["reached"]
    if found["above"] >= wanted or rows < wanted:
        return None
    return later if fewer and wanted - fewer <= rows - wanted else cut

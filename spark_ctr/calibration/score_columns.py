"""Scores and slots of a dataset as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_ctr.calibration_curves.bins import CLIP
from spark_ctr.stage.columns import column


def log_odds(probability: Column) -> Column:
    """Return ln(p / (1 - p)), clipped as `calibration_curves.log_odds` does; of null any value."""
    # The score is named as seldom as can be: a filter on what comes of it repeats all behind it.
    p = F.least(F.greatest(probability, F.lit(CLIP)), F.lit(1.0 - CLIP))
    return F.log(p / (1.0 - p))


def slot_texts(names: Sequence[str]) -> list[Column]:
    """Return the texts of a slot's values; all are null where one is."""
    whole = reduce(and_, (column(name).isNotNull() for name in names))
    return [F.when(whole, column(name).cast("string")) for name in names]


def slot_key(names: Sequence[str]) -> Column:
    """Return the 64-bit hash of the texts of a slot's values.

    That of a row with a null is no slot's. It is not made null: Spark would push what is done with
    the hash into the branches, and hash once for each.
    """
    return F.xxhash64(*[column(name).cast("string") for name in names])

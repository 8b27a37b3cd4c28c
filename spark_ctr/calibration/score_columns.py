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
    """Return ln(p / (1 - p)), clipped as `calibration_curves.log_odds` does."""
    p = F.greatest(F.least(probability, F.lit(1.0 - CLIP)), F.lit(CLIP))
    # Before greatest, which passes over nulls: a null score stays null.
    p = F.when(probability.isNotNull(), p)
    return F.log(p / (1.0 - p))


def slot_texts(names: Sequence[str]) -> list[Column]:
    """Return the texts of a slot's values; all are null where one is."""
    whole = reduce(and_, (column(name).isNotNull() for name in names))
    return [F.when(whole, column(name).cast("string")) for name in names]


def slot_key(texts: Sequence[Column]) -> Column:
    """Return the 64-bit hash of a slot's texts; null for none."""
    return F.when(texts[0].isNotNull(), F.xxhash64(*texts))

"""Scores and slots of a dataset as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.calibration_curves.bins import CLIP
from spark_ctr.stage.columns import column, field_of


def is_vector(dataset: DataFrame, name: str) -> bool:
    """Whether a column holds vectors."""
    return isinstance(field_of(dataset, name).dataType, VectorUDT)


def score(dataset: DataFrame, name: str) -> Column:
    """Return scores as doubles in [0, 1]; null for all else, and where a vector has no second."""
    value = column(name).cast("double") if not is_vector(dataset, name) else None
    if value is None:
        # vector_to_array fails on null
        value = F.when(column(name).isNotNull(), F.get(vector_to_array(column(name)), 1))
    # Spark orders nan above every number, so that <= 1 refuses it too.
    return F.when((value >= 0.0) & (value <= 1.0), value)


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

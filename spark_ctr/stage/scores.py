"""Columns of click probabilities: vectors of two classes, or numbers."""

from __future__ import annotations

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.stage.columns import column, field_of

SCORE_TYPES = (VectorUDT, T.NumericType)
# Of columns whose values name the slot of a score.
SLOT_TYPES = (T.StringType, T.IntegralType, T.BooleanType, T.DateType)


def is_vector(dataset: DataFrame, name: str) -> bool:
    """Whether a column holds vectors."""
    return isinstance(field_of(dataset, name).dataType, VectorUDT)


def score(dataset: DataFrame, name: str) -> Column:
    """Return scores as doubles in [0, 1]; null for all else, and where a vector has no second."""
    if is_vector(dataset, name):
        # vector_to_array fails on null; get gives null for a vector without a second element.
        second = F.get(vector_to_array(column(name)), 1)
        value = F.when(column(name).isNotNull(), second)
    else:
        value = column(name).cast("double")
    # Spark orders nan above every number, so that <= 1 refuses it too.
    return F.when((value >= 0.0) & (value <= 1.0), value)

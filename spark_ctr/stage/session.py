"""What a stage may ask of the Spark session, the same on classic Spark and Connect."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F


def is_connect(spark: SparkSession) -> bool:
    """Whether the session talks to a Spark Connect server."""
    return ".connect." in type(spark).__module__


def check_running(dataset: DataFrame) -> None:
    """Refuse a dataset whose session is stopped, which Spark does without a word.

    Raises
    ------
    RuntimeError
    """
    try:
        F.lit(True)  # an AssertionError without any session
        dataset.sparkSession.range(1)  # an AttributeError in one that was replaced by another
    except (AssertionError, AttributeError):
        raise RuntimeError(
            "the Spark session of this dataset is stopped: start one with spark_ctr.session()"
            ".getOrCreate() and read the data again"
        ) from None

"""What a stage may ask of the Spark session, the same on classic Spark and Connect."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession


def is_connect(spark: SparkSession) -> bool:
    """Whether the session talks to a Spark Connect server."""
    return ".connect." in type(spark).__module__


def session_of(dataset: DataFrame) -> SparkSession:
    """Session a DataFrame belongs to."""
    return dataset.sparkSession

"""What a stage may ask of the Spark session, the same on classic Spark and Connect."""

from __future__ import annotations

from pyspark.sql import SparkSession


def is_connect(spark: SparkSession) -> bool:
    """Whether the session talks to a Spark Connect server."""
    return ".connect." in type(spark).__module__

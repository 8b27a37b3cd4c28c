"""Spark's Python daemon, with what workers import already imported: they are forked with it."""

from pyspark.daemon import manager

import spark_ctr.networks.serialization
import spark_ctr.precision.serialization
import spark_ctr.stage.scoring  # noqa: F401

if __name__ == "__main__":
    manager()

"""Spark's Python daemon, with what UDFs import already imported: workers are forked with it."""

import os

from pyspark.daemon import manager

# Spark sets it for the daemon of UDFs; another one, for rows of Python, needs none of this.
if "SPARK_SIMPLIFIED_TRACEBACK" in os.environ:
    import spark_ctr.networks.serialization
    import spark_ctr.precision.serialization
    import spark_ctr.stage.scoring  # noqa: F401

if __name__ == "__main__":
    manager()

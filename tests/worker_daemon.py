"""Spark's Python daemon, with what UDFs import already imported: workers are forked with it."""

import os
import sys

# PySpark is installed; from its zip it is compiled anew, and every task reads the zip's directory.
sys.path[:] = [path for path in sys.path if not path.endswith(".zip")]
for path in [path for path in sys.path_importer_cache if path.endswith(".zip")]:
    del sys.path_importer_cache[path]

from pyspark.daemon import manager  # noqa: E402

# Spark sets it for the daemon of UDFs; another one, for rows of Python, needs none of this.
if "SPARK_SIMPLIFIED_TRACEBACK" in os.environ:
    import pandas  # noqa: F401

    import spark_ctr.networks.serialization
    import spark_ctr.rows.scored_batches
    import spark_ctr.runtime.serialization  # noqa: F401

if __name__ == "__main__":
    manager()

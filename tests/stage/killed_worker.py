"""A predictor whose worker is killed in the middle of a query, once; and a query that goes on.

Usage: PYTHONPATH=$PWD python tests/stage/killed_worker.py MODEL
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from spark_ctr.runtime.serialization import predictor_from_bytes as loaded

LOADER = "tests.stage.killed_worker:predictor_from_bytes"


def predictor_from_bytes(
    data: bytes | memoryview,
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a predictor; the first of an executor that sees a third batch kills its process."""
    predict = loaded(data)
    calls = iter(range(1 << 30))
    marker = Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0], "killed")

    def logits(ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        if next(calls) == 2:
            with suppress(FileExistsError), marker.open("x"):
                os.kill(os.getpid(), signal.SIGKILL)
        return predict(ids, numeric)

    return logits


def lines(rows: list) -> Iterator[str]:
    """Return the exact scores of rows of id and logit, in their order."""
    return (f"{number} {float(logit).hex()}" for number, logit in sorted(rows))


def main() -> None:
    """Score by a session that tries each task up to four times; print the exact scores."""
    from pyspark.sql import SparkSession

    from spark_ctr.quantization import QuantizedCTRClassificationModel
    from spark_ctr.runtime.serialization import packed_from_bytes
    from tests.stage.test_shared_scoring import BATCH, scored

    session = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
    spark = session.config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH).getOrCreate()
    data = Path(sys.argv[1]).read_bytes()
    model = QuantizedCTRClassificationModel()._with(packed_from_bytes(data), None)  # type: ignore[arg-type]
    model._loader = LOADER
    print(*lines(scored(spark, model).collect()), sep="\n")
    spark.stop()


if __name__ == "__main__":
    main()

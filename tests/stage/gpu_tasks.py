"""A session whose tasks have a GPU, as far as Spark knows; prints what became of it.

Run as a program in a folder for its files.
"""

import json
from pathlib import Path

from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.model_loading import generated_model
from spark_ctr.quantization import QuantizedCTRClassificationModel
from spark_ctr.runtime.serialization import packed_from_bytes


def session(script: Path) -> SparkSession:
    """A cluster of one executor, whose script finds one GPU."""
    script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0"]}\'\n')
    script.chmod(0o755)
    builder = SparkSession.builder.master("local-cluster[1,1,1024]")
    for holder in ("worker", "executor"):
        builder = builder.config(f"spark.{holder}.resource.gpu.amount", "1")
        builder = builder.config(f"spark.{holder}.resource.gpu.discoveryScript", str(script))
    return builder.config("spark.task.resource.gpu.amount", "1").getOrCreate()


def scores(spark: SparkSession, device: str) -> list[float]:
    packed = packed_from_bytes(generated_model(1, 0))
    model = QuantizedCTRClassificationModel(device=device)._with(packed, None)
    rows = spark.range(0, 200, 1, 2).select(
        F.array(F.col("id").cast("int")).alias("categoricalFeatures"),
        F.array((F.col("id") % 7).cast("float")).alias("numericFeatures"),
    )
    found = model.transform(rows).select(vector_to_array("rawPrediction")[1]).collect()
    return [row[0] for row in found]


def main() -> None:
    spark = session(Path("gpus.sh").resolve())

    @F.udf("string")
    def facts(_: int) -> str:
        from pyspark import TaskContext

        from spark_ctr.runtime import cuda_predictor

        given = TaskContext.get().resources()["gpu"].addresses
        return f"{given}, said {cuda_predictor._say.cache_info().currsize}"

    same = scores(spark, "auto") == scores(spark, "cpu")
    # The workers that scored go on with it.
    found = {row[0] for row in spark.range(0, 1, 1, 1).select(facts("id")).collect()}
    print(json.dumps({"tasks": sorted(found), "same": same}))


if __name__ == "__main__":
    main()

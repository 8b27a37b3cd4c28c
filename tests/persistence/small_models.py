"""A small click log, and a pipeline of every stage over it."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Pipeline
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.quantization import MixedPrecisionQuantizer

ROWS = 400


def click_rows(spark: Any) -> DataFrame:
    """Two categorical columns, a number with every value of its own, and a label."""
    hashed = F.xxhash64("id")
    return spark.range(ROWS).select(
        (F.col("id") % 17).cast("string").alias("site"),
        (F.pmod(hashed, F.lit(5))).cast("string").alias("device"),
        (F.pmod(hashed, F.lit(997)) / 10.0).alias("price"),
        (F.pmod(hashed, F.lit(3)) == 0).cast("double").alias("label"),
    )


def array_rows(spark: Any) -> DataFrame:
    """Return the rows of `click_rows` with an array column of one or two values."""
    two = F.crc32(F.col("site")) % 2 == 0
    words = F.when(two, F.array("site", "device")).otherwise(F.array("device"))
    return click_rows(spark).withColumn("words", words)


def classifier(**params: Any) -> CTRClassifier:
    """Return a classifier that trains in a blink."""
    return CTRClassifier(
        **(
            {
                "network": "dnn",
                "hiddenLayers": [8, 8],
                "batchNorm": False,
                "maxIter": 1,
                "batchSize": 64,
                "device": "cpu",
                "verbose": False,
            }
            | params
        )
    )


def front() -> list[Any]:
    """Return the stages before the network."""
    return [
        ClickLogCleaner(categoricalCols=["site", "device"], numericCols=["price"], numBuckets=4),
        PowerLawFeatureSelector(budget=64, maxPValue=1.0, minGain=0.0, alternatives=[]),
        HashedEmbeddingEncoder(numBuckets=3, embeddingDim=4),
    ]


def pipeline() -> Pipeline:
    """Return cleaner, selector, encoder and classifier."""
    return Pipeline(stages=[*front(), classifier()])


def quantizer() -> MixedPrecisionQuantizer:
    """Return a quantiser of the classifier."""
    return MixedPrecisionQuantizer(classifier=classifier(), maxIter=1, tolerance=1.0)


def scores(model: Any, data: DataFrame) -> list[float]:
    """Return the probability of a click of each row, in one order."""
    scored = model.transform(data).select("site", "price", "probability").collect()
    return [row["probability"][1] for row in sorted(scored, key=lambda r: (r["site"], r["price"]))]

"""Golden embedding rows and counts, as Spark gives them; the same with and without the jar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.feature import ClickLogCleaner
from spark_ctr.feature.embedding_rows import embedding_rows
from spark_ctr.feature.quantile_buckets import bucket
from spark_ctr.feature.value_counts import count_kinds, count_values
from spark_ctr.hashing import ColumnRows, TailHash, Vocabulary

GOLDEN = json.loads(
    Path(__file__).parents[1].joinpath("hashing", "golden.json").read_text(encoding="utf-8")
)


def plan_of(golden: dict) -> Vocabulary:
    """Vocabulary of a golden plan."""
    head = np.array([GOLDEN["hashes"][i] for i in golden["head"]], dtype=np.int64)
    tail = TailHash(golden["scheme"], golden["buckets"], golden["seed"], golden["signed"])
    return Vocabulary(head, tail, golden["offset"])


def golden_rows(spark: SparkSession) -> list[dict]:
    """Rows and bags of every golden plan."""
    texts, arrays = GOLDEN["texts"], GOLDEN["arrays"]
    rows = [
        (i, text, None if elements is None else [texts[e] for e in elements])
        for i, (text, elements) in enumerate(
            zip(texts, [*arrays, *[None] * (len(texts) - len(arrays))], strict=True)
        )
    ]
    # more rows than one partition's, so that Spark does not evaluate them by itself
    data = spark.createDataFrame(rows, "i int, text string, texts array<string>").repartition(2)
    found = []
    for golden in GOLDEN["plans"]:
        vocabulary = plan_of(golden)
        columns = [ColumnRows(vocabulary), ColumnRows(vocabulary, golden["values"])]
        both = data.select("i", embedding_rows(data, ["text", "texts"], columns).alias("rows"))
        ids = [list(row["rows"]) for row in both.orderBy("i").collect()]
        slots = vocabulary.slots
        found.append(
            {
                "rows": [row[:slots] for row in ids],
                "bags": [row[slots:] for row in ids[: len(arrays)]],
            }
        )
    return found


def log_to_count(spark: SparkSession) -> DataFrame:
    """2,000 rows of a string, an integer and an array column, with nulls, labels and slices."""
    i = F.col("id")
    rare = F.when(i % 11 == 0, F.lit(None)).otherwise(F.concat(F.lit("v"), (i * i) % 97))
    tags = F.when(i % 7 == 0, F.array().cast("array<string>")).otherwise(
        F.array(rare, F.lit("b"), F.lit(None).cast("string"))
    )
    return spark.range(0, 2000, 1, 3).select(
        rare.alias("site"),
        (i % 5).cast("int").alias("device"),
        F.when(i % 13 == 0, F.lit(None)).otherwise(tags).alias("tags"),
        F.when(i % 3 > 0, (i % 3 - 1).cast("double")).alias("label"),
        F.when(i % 17 > 0, (i / 200).cast("int")).alias("part"),
    )


def counts(spark: SparkSession) -> list[list]:
    """`count_values` of that log, in one order."""
    counted = count_values(*_arguments(spark))
    rows = [list(row) for row in counted.collect()]
    return sorted(rows, key=lambda row: (row[0], row[1] is not None, row[1] or 0))


def kinds(spark: SparkSession) -> list[list]:
    """`count_kinds` of that log, in one order."""
    return sorted(list(row) for row in count_kinds(*_arguments(spark)).collect())


def _arguments(spark: SparkSession) -> tuple:
    names = ["site", "device", "tags"]
    return log_to_count(spark), names, F.col("label"), F.col("part")


RAW = [
    " a",
    "a \t\u00a0b",
    "N/A\u2003",
    "\x00?",
    "\u65e5 \u672c",
    "\U0001f600\x85",
    "\ufeff",
    "",
    None,
]
CLEAN = ["a", "a b", None, None, "\u65e5 \u672c", "\U0001f600", "\ufeff", None, None]
NUMBERS = [0.0, -0.0, 1.0, 2.0, 2.5, float("nan"), float("-inf"), -7.0, None]
CUTS = [0.0, 1.0, 2.0]
BUCKETS = ["1", "1", "2", "3", "3", None, None, "0", None]


def cleaned(spark: SparkSession) -> list[list]:
    """`RAW` cleaned as texts and as one array, and `NUMBERS` in buckets, by the session's way."""
    pairs = zip(RAW, NUMBERS, strict=True)
    rows = [(i, text, number, RAW) for i, (text, number) in enumerate(pairs)]
    data = spark.createDataFrame(rows, "i int, text string, number double, texts array<string>")
    data = data.repartition(2)
    made = ClickLogCleaner(categoricalCols=["text", "texts"]).fit(data).transform(data)
    buckets = bucket(made, F.col("number"), CUTS)
    found = made.select("i", "text_clean", "texts_clean", buckets).orderBy("i")
    return [list(row)[1:] for row in found.collect()]

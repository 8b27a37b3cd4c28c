"""Scores of a few networks on rows of every kind, with or without the JVM functions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from pyspark.errors import PySparkException
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassificationModel
from spark_ctr.networks import build_network
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.quantization import QuantizedCTRClassificationModel
from spark_ctr.rows import scoring
from spark_ctr.tables import PADDING, Inputs, Table

COLUMNS = {
    "mixed": Inputs((Table("site", 6, 4), Table("ad", 5, 2)), ("age", "price")),
    "lists": Inputs(
        (Table("tags", 9, 4, slots=2, padded=True), Table("ad", 7, 4, signed=True)), ()
    ),
    "numbers": Inputs((), ("age", "price")),
}
# Rows of ids and numbers; the valid ones first.
ROWS: dict[str, list[tuple[Any, Any]]] = {
    "mixed": [
        *[([i % 6, i % 5], [i / 8, -i / 3]) for i in range(20)],
        ([6, 0], [0.5, 0.5]),
        ([-1, 0], [0.5, 0.5]),
        ([None, 1], [0.5, 0.5]),
        ([1], [0.5, 0.5]),
        ([1, 2, 3], [0.5, 0.5]),
        ([], [0.5, 0.5]),
        (None, [0.5, 0.5]),
        ([1, 2], [float("nan"), 0.5]),
        ([1, 2], [float("inf"), 0.5]),
        ([1, 2], [1e300, 0.5]),
        ([1, 2], [None, 0.5]),
        ([1, 2], [0.5]),
        ([1, 2], [0.5, 1.0, 1.5]),
        ([1, 2], None),
        (None, None),
    ],
    "lists": [
        *[([i % 9, PADDING, i % 7 - 7], []) for i in range(9)],
        ([2**31 - 1, PADDING, 0], []),
        ([1, 2, PADDING], []),
        ([1, None, 2], []),
        ([1, 2, -8], []),
        ([1, 2, 3], [1.0]),
    ],
    "numbers": [
        ([], [1.0, 2.0]),
        ([1], [1.0, 2.0]),
        ([], [1.0, float("-inf")]),
        (None, [1.0, 2.0]),
    ],
}
VALID = {"mixed": 20, "lists": 9, "numbers": 1}


def rows_of(spark: SparkSession, name: str, numbers: str) -> DataFrame:
    """Rows of one kind of columns, with numbers of a type."""
    rows = [(i, *row) for i, row in enumerate(ROWS[name])]
    data = spark.createDataFrame(rows, "id int, categoricalFeatures array<int>, n array<double>")
    cast = F.expr(f"transform(n, x -> try_cast(x AS {numbers}))").alias("numericFeatures")
    return data.coalesce(1).select("id", "categoricalFeatures", cast)


def model_of(name: str, kind: str) -> Any:
    """Return a model of random weights, "quantised", "float" or of "two" tasks."""
    inputs = COLUMNS[name]
    if kind == "two":
        network = build_network("tests.training.two_tasks:TwoTasks", inputs, seed=1)
        return CTRClassificationModel()._with(network, None)
    config = {"hidden_layers": [8, 8], "batch_norm": True}
    network = build_network("dnn", inputs, config, seed=1)
    if kind == "float":
        return CTRClassificationModel()._with(network, None)
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    ids, numbers = zip(*ROWS[name][: VALID[name]], strict=True)
    packed = pack_network(prepare(network, plan, (torch.tensor(ids), torch.tensor(numbers))))
    return QuantizedCTRClassificationModel()._with(packed, None)  # type: ignore[arg-type]


def scores(spark: SparkSession, jar: bool, cases: Sequence[tuple[str, str, str, str]]) -> dict:
    """Output columns, exact, and counts of cases (columns, model, policy, type of the numbers).

    Of a case that fails, what the error says.
    """
    found = {}
    kept = scoring.use_jvm_functions
    scoring.use_jvm_functions = lambda _: jar
    try:
        for case in cases:
            name, kind, policy, numbers = case
            model = model_of(name, kind).setHandleInvalid(policy)
            found[" ".join(case)] = _scores(model, rows_of(spark, name, numbers))
    finally:
        scoring.use_jvm_functions = kept
    return found


def _scores(model: Any, data: DataFrame) -> Any:
    scored = model.transform(data)
    columns = [
        (vector_to_array(c) if kind == "vector" else F.array(c)).alias(c)
        for c, kind in ((f.name, f.dataType.simpleString()) for f in scored.schema.fields[3:])
    ]
    try:
        rows = scored.select("id", *columns).collect()
    except PySparkException as error:
        text = str(error)
        return text[text.index("ValueError: ") :].split("\n")[0]
    return {
        "schema": scored.schema.json(),
        "rows": sorted([row[0], *[[v.hex() for v in part] for part in row[1:]]] for row in rows),
        "skipped": model.skippedRows,
    }


def imported(spark: SparkSession) -> list[str]:
    """Libraries that a worker has imported that scored rows of a quantised model and no other."""
    scores(spark, True, [("mixed", "quantised", "keep", "double")])

    def modules(_: Any) -> str:
        return " ".join(sorted({"torch", "pandas", "spark_ctr"} & set(sys.modules)))

    return spark.range(1).select(F.udf(modules)("id")).collect()[0][0].split()

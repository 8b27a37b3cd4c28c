"""A Python process of its own that starts Spark with the jar and prints what it saw, as JSON.

Usage: python probe_functions.py JAR-or-empty
"""

import json
import sys

import numpy as np
from golden import cleaned, counts, golden_rows, kinds
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from scores import imported, scores

from spark_ctr.hashing import ColumnRows, TailHash, Vocabulary, row_plan
from spark_ctr.jvm import has_jvm_functions, session_settings

FUNCTIONS = [
    "ctr_clean",
    "ctr_count_histogram",
    "ctr_cut",
    "ctr_merge_counts",
    "ctr_pack",
    "ctr_rows",
    "ctr_value_counts",
    "ctr_vector",
]
# One column: 10 buckets from row 1 on, seed 7, no private rows.
PLAN = "X'" + row_plan([ColumnRows(Vocabulary(np.zeros(0), TailHash("modulo", 10, 7)))]).hex() + "'"
BAD_CALLS = [
    "ctr_rows(X'00', 'a')",
    "ctr_rows(CAST(NULL AS BINARY), 'a')",
    "ctr_rows(CAST(CAST(id AS STRING) AS BINARY), 'a')",
    "ctr_rows('plan', 'a')",
    f"ctr_rows({PLAN}, 'a', 'b')",
    f"ctr_rows({PLAN}, 1.5D)",
    f"ctr_rows({PLAN})",
    "ctr_value_counts(1D, 0)",
    "ctr_value_counts('a', 0, 1L)",
    "ctr_value_counts(1D, 0, 'a')",
    "ctr_merge_counts(1)",
    "ctr_merge_counts('a', X'00')",
    "ctr_clean('a', '[', array(''))",
    "ctr_clean(1, 'x', array(''))",
    "ctr_clean('a', 'x', array(CAST(id AS STRING)))",
    "ctr_cut(1D, CAST(NULL AS ARRAY<DOUBLE>))",
    "ctr_cut('a', array(1D))",
    "ctr_pack(array(1), array(1D), 1)",
    "ctr_pack(array(1L), array(1D), 1, 1)",
    "ctr_pack(array(1), array('a'), 1, 1)",
    "ctr_pack(array(1), array(1D), int(id), 1)",
    "ctr_pack(array(1), array(1D), 1, CAST(NULL AS INT))",
    "ctr_pack(array(1), array(1D), -1, 1)",
    "ctr_vector(1D)",
    "ctr_vector(1D, 1)",
]
SCORED = [
    *(("mixed", "quantised", policy, "double") for policy in ("error", "skip", "keep")),
    ("mixed", "quantised", "keep", "float"),
    ("mixed", "quantised", "keep", "decimal(5,2)"),
    ("mixed", "float", "keep", "double"),
    ("mixed", "two", "skip", "double"),
    ("lists", "quantised", "skip", "double"),
    ("lists", "quantised", "keep", "double"),
    ("numbers", "quantised", "skip", "double"),
    ("numbers", "quantised", "keep", "float"),
]


def message(spark: SparkSession, call: str) -> str:
    """Error message of a call that must not pass analysis."""
    try:
        spark.sql(f"SELECT {call} FROM range(1)").collect()
    except AnalysisException as error:
        return str(error)
    return ""


def observe(spark: SparkSession) -> dict:
    """Everything the tests look at, from one session."""
    if not has_jvm_functions(spark):
        return {"has": False}
    description = {
        name: "\n".join(r[0] for r in spark.sql(f"DESCRIBE FUNCTION EXTENDED {name}").collect())
        for name in FUNCTIONS
    }
    return {
        "has": True,
        "imported": imported(spark),
        "scores": {way: scores(spark, way == "jar", SCORED) for way in ("jar", "no jar")},
        "listed": [name for name in FUNCTIONS if spark.catalog.functionExists(name)],
        "errors": {call: message(spark, call) for call in BAD_CALLS},
        "description": description,
        "golden": golden_rows(spark),
        "counts": counts(spark),
        "kinds": kinds(spark),
        "cleaned": cleaned(spark),
    }


def main() -> None:
    """Start a session with the jar, observe it, print."""
    jar = sys.argv[1]
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    if jar:
        settings = session_settings()
        assert settings["spark.jars"] == jar
        for name, value in settings.items():
            builder = builder.config(name, value)
    spark = builder.getOrCreate()
    observed = observe(spark)
    spark.stop()
    print(json.dumps(observed))


if __name__ == "__main__":
    main()

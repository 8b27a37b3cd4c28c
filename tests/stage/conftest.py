"""Rows of a small click log, as HashedEmbeddingEncoder leaves them."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.networks import Inputs, Table
from spark_ctr.stage.columns import with_metadata

INPUTS = Inputs((Table("site", 6, 4), Table("ad", 5, 2)), ("age",))


LATE = Inputs((Table("site", 6, 4), Table("late", 7, 3)), ("dwell",))


def with_late_features(clicks, late, dwell="numericFeatures"):
    """Add a pair of feature columns that only a teacher reads, by expressions of Spark SQL."""
    tables = [table.to_dict() for table in LATE.tables]
    ids = F.expr(f"array(categoricalFeatures[0], int({late}))")
    return clicks.select(
        "*",
        with_metadata(ids, "lateIds", {"tables": tables}),
        with_metadata(F.expr(dwell), "lateNumbers", {"names": ["dwell"]}),
    )


@pytest.fixture(scope="module")
def small_clicks(spark):
    """600 rows; clicks depend on all three columns."""
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(600):
        site, ad, age = int(draw.integers(6)), int(draw.integers(5)), float(draw.normal())
        click = draw.random() < 1 / (1 + np.exp(1 - 2 * np.sin(site * ad) - age))
        rows.append(([site, ad], [age], int(click)))
    frame = spark.createDataFrame(rows, "a array<int>, b array<float>, label int")
    tables = [table.to_dict() for table in INPUTS.tables]
    return frame.select(
        "label",
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": ["age"]}),
    )

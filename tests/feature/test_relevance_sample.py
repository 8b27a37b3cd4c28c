"""The sample on which the selector measures what columns tell together."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.feature import column_statistics
from spark_ctr.feature.column_statistics import sample_relevance

ROWS = 6_000


@pytest.fixture(scope="module")
def log(spark):
    """Half of the rows are alike in all columns, the others differ in "user"."""
    alike = F.col("id") % 2 == 0
    return spark.range(0, ROWS, 1, 3).select(
        F.when(alike, "a").otherwise(F.concat(F.lit("u"), "id")).alias("user"),
        F.when(alike, "x").otherwise((F.col("id") % 7).cast("string")).alias("site"),
        (~alike & (F.col("id") % 3 == 0)).cast("int").alias("click"),
    )


@pytest.fixture
def sampled(monkeypatch):
    """Codes and labels that the measure is given."""
    seen = []

    def measure(codes, label):
        seen.append((codes, label))
        return {}

    monkeypatch.setattr(column_statistics, "joint_relevance", measure)

    def sample(log, limit, seed=5, names=("user", "site")):
        sample_relevance(log, names, "click", ROWS, limit, seed)
        return seen.pop()

    return sample


@pytest.mark.parametrize("grouped", [100, 2], ids=["whole", "thinned"])
def test_the_rows_decide_and_nothing_else(log, sampled, grouped, monkeypatch):
    monkeypatch.setattr(column_statistics, "_GROUPED", grouped)
    codes, label = sampled(log, 600)
    rows = sorted(zip(codes["user"], codes["site"], label, strict=True))
    shuffled = log.repartition(5).select("click", "user", "site")
    codes, label = sampled(shuffled, 600, names=("site", "user"))
    assert sorted(zip(codes["user"], codes["site"], label, strict=True)) == rows
    others, _ = sampled(log, 600, seed=6)
    assert set(others["user"]) != set(codes["user"])


def test_rows_that_repeat_have_their_share(log, sampled):
    codes, label = sampled(log, 600)
    users, counts = np.unique(codes["user"], return_counts=True)
    assert counts.max() == 300 and sorted(counts)[-2] == 1
    # 3,000 rows drawn with a tenth each have a standard deviation of 16
    assert len(users) - 1 == pytest.approx(300, abs=80)
    assert label.mean() == pytest.approx(1 / 6, abs=0.06)


def test_all_rows_where_there_are_no_more(log, sampled):
    codes, label = sampled(log, ROWS)
    assert len(codes["user"]) == len(label) == ROWS


def test_no_row_has_a_label(log, sampled):
    codes, label = sampled(log.withColumn("click", F.lit(None).cast("int")), 600)
    assert len(codes["user"]) == len(label) == 0

"""PowerLawFeatureSelector against exact counts, planted columns and the pure rule."""

from __future__ import annotations

from collections import Counter

import pytest
from pyspark.ml.feature import StringIndexer
from pyspark.sql import functions as F

from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.feature import HashedEmbeddingEncoder, PowerLawFeatureSelector


@pytest.fixture(scope="module")
def log(spark):
    return click_log(spark, 20_000, seed=3).cache()


@pytest.fixture(scope="module")
def columns():
    config = ClickLogConfig()
    return [c.name for c in config.identifiers] + [name for name, _ in config.constants]


@pytest.fixture(scope="module")
def model(log, columns):
    return PowerLawFeatureSelector(inputCols=columns, labelCol="click", budget=5_000).fit(log)


def test_counts_are_exact(log, columns, model):
    frame = log.select(*columns).toPandas()
    for facts in model.decisions:
        values = frame[facts["column"]]
        assert facts["distinct"] == values.nunique()
        assert facts["missing"] == values.isna().sum()
        assert facts["rows"] == values.notna().sum()


def test_histogram_is_that_of_the_counts(log, columns, model):
    name = max(model.decisions, key=lambda facts: facts["distinct"])["column"]
    counts = Counter(row[0] for row in log.select(name).collect() if row[0] is not None)
    wanted = Counter(counts.values())
    found = model._histograms[name]
    assert dict(zip(found["values"], found["multiplicities"], strict=True)) == dict(wanted)


def test_constants_are_dropped_and_budget_is_kept(model):
    by_name = {facts["column"]: facts for facts in model.decisions}
    for name, _ in ClickLogConfig().constants:
        assert by_name[name]["decision"] == "drop"
        assert "fewer than two distinct" in by_name[name]["reason"]
    kept = [facts for facts in model.decisions if facts["decision"] != "drop"]
    assert sum(1 + f["private_rows"] + f["buckets"] for f in kept) <= 5_000
    assert model.selectedCols == [f["column"] for f in kept]


def test_encoder_follows_the_plan(log, model):
    encoder = HashedEmbeddingEncoder(numericCols=[]).fit(model.transform(log))
    plans = {f["column"]: f for f in model.decisions if f["decision"] != "drop"}
    assert [t["name"] for t in encoder.tables] == list(plans)
    for table in encoder.tables:
        plan = plans[table["name"]]
        assert (table["private"], table["buckets"], table["dim"]) == (
            plan["private_rows"],
            plan["buckets"],
            plan["dimension"],
        )


def test_report_has_a_row_a_column(model, columns):
    rows = model.report.collect()
    assert [row["column"] for row in rows] == columns
    for row in rows:
        assert row["reason"]
        if row["alpha"] is not None:
            assert row["alpha"] > 1 and row["alpha_se"] > 0 and row["xmin"] >= 1


def test_plot_names_unknown_columns(model):
    with pytest.raises(ValueError, match="no column 'x'; the selector saw"):
        model.plotCCDF("x")


def test_a_budget_below_two_rows_a_column_is_refused(log, columns):
    selector = PowerLawFeatureSelector(inputCols=columns, labelCol="click", budget=2)
    with pytest.raises(ValueError, match="budget"):
        selector.fit(log)


def test_string_indexer_counts_the_same_head(log, model):
    facts = next(f for f in model.decisions if f["decision"] == "head_and_tail")
    name = facts["column"]
    present = log.filter(log[name].isNotNull())
    labels = StringIndexer(inputCol=name, outputCol="i").fit(present).labels
    encoder = HashedEmbeddingEncoder(numericCols=[]).fit(model.transform(log))
    named = encoder.privateValues(model.transform(log)).where(F.col("column") == name).collect()
    counts = {row[name]: row["count"] for row in present.groupBy(name).count().collect()}
    head = labels[: facts["private_rows"]]
    assert {row["value"] for row in named} == {str(label) for label in head}
    by_row = [counts[row["value"]] for row in sorted(named, key=lambda row: row["row"])]
    assert by_row == sorted(by_row, reverse=True)


@pytest.fixture(scope="module")
def ordered(spark):
    """Rows in an order of their own: `new` brings a value every second row, `old` has seven."""
    i = F.col("id")
    return spark.range(0, 4000, 1, 3).select(
        F.concat(F.lit("n"), F.floor(i / 2)).alias("new"),
        (i % 7).alias("old"),
        F.array(F.concat(F.lit("t"), i % 5), F.lit("all")).alias("tags"),
        (i * 7919 % 4000 % 3 == 0).cast("int").alias("click"),
        F.timestamp_seconds(i * 60).alias("time"),
    )


def test_growth_in_the_order_of_the_log(ordered):
    columns = ["new", "old", "tags"]
    selector = PowerLawFeatureSelector(inputCols=columns, labelCol="click", budget=50)
    new, old, tags = selector.setOrderCol("time").fit(ordered.orderBy(F.rand(1))).decisions
    assert new["heaps_beta"] == pytest.approx(1.0, abs=0.01)
    assert new["unseen_share"] == pytest.approx(1.0, abs=0.02)
    for facts in (old, tags):
        assert facts["heaps_beta"] == pytest.approx(0.0, abs=0.01)
        assert facts["unseen_share"] == 0.0
    shuffled = PowerLawFeatureSelector(inputCols=columns, labelCol="click", budget=50).fit(ordered)
    assert shuffled.decisions[0]["unseen_share"] == 0.0  # every value of `new` occurs twice


def test_elements_of_an_array_count_one_by_one(ordered):
    selector = PowerLawFeatureSelector(inputCols=["tags", "old"], labelCol="click", budget=50)
    tags = selector.fit(ordered).decisions[0]
    assert (tags["rows"], tags["distinct"], tags["missing"]) == (8000, 6, 0)


def test_a_budget_in_bytes_is_kept(log, columns):
    model = PowerLawFeatureSelector(
        inputCols=columns, labelCol="click", budget=10_000, budgetUnit="bytes"
    ).fit(log)
    kept = [facts for facts in model.decisions if facts["decision"] != "drop"]
    spent = sum((1 + f["private_rows"] + f["buckets"]) * f["dimension"] * 4 for f in kept)
    assert 5_000 < spent <= 10_000


def test_plot_of_budgets_shows_the_coverage_that_was_granted(model):
    ax = model.plotBudget()
    lines = {line.get_label().split(" (")[0]: line for line in ax.get_lines()}
    kept = [facts for facts in model.decisions if facts["decision"] != "drop"]
    for facts in kept:
        if facts["column"] in lines:
            x, y = lines[facts["column"]].get_data()
            assert y[list(x).index(5_000)] == pytest.approx(facts["coverage"])
    assert "all kept columns" in lines and "budget 5,000 rows" in lines

"""AuctionEvaluator against auctions by hand, and against NumPy's."""

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F

from benchmarks.auction import Auctions, hold
from spark_ctr.auction import AuctionEvaluator

# Values of the first auction are 0.4, 0.5 and 0.3; the second one has one candidate.
ROWS = [
    ("a", 2.0, 0.2, 0.9, 0.0),
    ("a", 5.0, 0.1, 0.05, 1.0),
    ("a", 1.0, 0.3, 0.8, 0.0),
    ("b", 3.0, 0.5, 0.5, 0.0),
]
NAMES = "auction string, bid double, p double, truth double, label double"


@pytest.fixture(scope="module")
def rows(spark):
    return spark.createDataFrame(ROWS, NAMES).cache()


def judge(**params):
    return AuctionEvaluator(**{"probabilityCol": "p", "truthCol": "truth", **params})


def shown(evaluator, dataset):
    found = evaluator.winners(dataset).orderBy("auction", "position").collect()
    return [row.asDict() for row in found]


def test_the_winner_pays_what_it_would_just_have_won_with(rows):
    first, second = shown(judge(), rows)
    assert (first["bid"], first["position"], first["value"]) == (5.0, 1, 0.5)
    assert first["price"] == pytest.approx(0.4)
    # 0.4 / 0.1 a click.
    assert first["revenue"] == pytest.approx(4.0 * 0.05)
    assert first["welfare"] == pytest.approx(5.0 * 0.05)
    # Alone it pays nothing.
    assert (second["price"], second["revenue"]) == (0.0, 0.0)
    assert second["welfare"] == pytest.approx(1.5)
    assert set(first) == {*NAMES.replace(",", "").split()[::2]} | {
        *("position", "value", "price", "revenue", "welfare", "predicted", "clicks")
    }


def test_positions_and_a_reserve(rows):
    found = shown(judge(positionFactors=[0.8, 0.5], reserve=0.35), rows)
    assert [(row["auction"], row["position"], row["bid"]) for row in found] == [
        ("a", 1, 5.0),
        ("a", 2, 2.0),
        ("b", 1, 3.0),
    ]
    # The third candidate is worth 0.3, less than the reserve that the second pays.
    assert [row["price"] for row in found] == pytest.approx([0.4, 0.35, 0.35])
    assert found[0]["revenue"] == pytest.approx(0.8 * 0.05 * 4.0)
    assert found[1]["revenue"] == pytest.approx(0.5 * 0.9 * 0.35 / 0.2)
    assert found[1]["clicks"] == pytest.approx(0.45)
    assert found[1]["predicted"] == pytest.approx(0.1)
    figures = judge(positionFactors=[0.8, 0.5], reserve=0.35).figures(rows)
    assert (figures.auctions, figures.shown) == (2, 3)
    revenue = sum(row["revenue"] for row in found)
    assert figures.revenue.value == pytest.approx(revenue / 2)
    assert figures.ecpm.value == pytest.approx(1000 * revenue / 3)
    # Auctions that show nothing count too.
    none = judge(reserve=10.0).figures(rows)
    assert (none.auctions, none.shown, none.revenue.value) == (2, 0, 0.0)


def test_bids_for_ads_shown_and_for_conversions(rows):
    by_view = shown(judge(bidType="cpm", positionFactors=[1.0, 0.5]), rows)
    assert [row["bid"] for row in by_view] == [5.0, 2.0, 3.0]
    assert [row["revenue"] for row in by_view] == pytest.approx([0.002, 0.001, 0.0])
    assert [row["welfare"] for row in by_view] == pytest.approx([0.005, 0.002, 0.003])
    converting = rows.withColumn("c", F.when(F.col("bid") == 5.0, 0.1).otherwise(0.5))
    ocpc = judge(bidType="ocpc", conversionProbabilityCol="c")
    # Worth 0.2, 0.05 and 0.15; a click costs 0.15 / 0.2.
    first = shown(ocpc, converting)[0]
    assert (first["bid"], first["value"]) == (2.0, pytest.approx(0.2))
    assert first["revenue"] == pytest.approx(0.9 * 0.15 / 0.2)
    assert first["welfare"] == pytest.approx(0.9 * 2.0 * 0.5)
    told = judge(bidType="ocpc", conversionProbabilityCol="c", conversionTruthCol="truth")
    assert shown(told, converting)[0]["welfare"] == pytest.approx(0.9 * 2.0 * 0.9)


def test_without_the_truth_labels_are_what_came(rows):
    found = shown(AuctionEvaluator(probabilityCol="p"), rows)
    assert [row["clicks"] for row in found] == [1.0, 0.0]
    assert found[0]["revenue"] == pytest.approx(4.0)
    assert AuctionEvaluator(probabilityCol="p", metricName="calibrationRatio").evaluate(
        rows
    ) == pytest.approx(0.6)


@pytest.fixture(scope="module")
def drawn(spark):
    """Auctions of a NumPy log, and the same rows in Spark."""
    rng = np.random.default_rng(3)
    true = rng.uniform(0.01, 0.4, (300, 6))
    noisy = (true * rng.lognormal(0, 0.5, true.shape)).clip(0, 1)
    bids = rng.lognormal(0, 0.5, true.shape)
    rows = [
        (i, float(bids[i, j]), Vectors.dense([1 - noisy[i, j], noisy[i, j]]), float(true[i, j]))
        for i in range(300)
        for j in range(6)
    ]
    names = ["auction", "bid", "probability", "truth"]
    data = spark.createDataFrame(rows, names).repartition(3, "bid")
    flat = Auctions(np.arange(true.size).reshape(true.shape), bids)
    return flat, noisy.ravel(), true.ravel(), data.cache()


def test_figures_are_those_of_numpy(drawn):
    auctions, noisy, true, data = drawn
    evaluator = AuctionEvaluator(truthCol="truth", numResamples=200)
    expected, found = hold(auctions, noisy, true), evaluator.figures(data)
    assert found.auctions == found.shown == 300
    assert found.revenue.value == pytest.approx(expected.revenue.mean(), rel=1e-12)
    assert found.welfare.value == pytest.approx(expected.welfare.mean(), rel=1e-12)
    assert found.calibrationRatio.value > 1.1  # the auction picks what is overrated
    for metric in ("revenue", "welfare", "ecpm", "calibrationRatio"):
        evaluator.setMetricName(metric)
        assert evaluator.evaluate(data) == getattr(found, metric).value
        assert evaluator.isLargerBetter() == (metric != "calibrationRatio")
    # An interval of a mean of 300, as the central limit theorem has it.
    width = found.welfare.high - found.welfare.low
    assert width == pytest.approx(3.92 * expected.welfare.std() / np.sqrt(300), rel=0.25)


def test_the_truth_beats_noise_in_the_same_auctions(drawn):
    data = drawn[3].selectExpr("*", "truth / 2 half", "probability raw").drop("probability")
    evaluator = AuctionEvaluator(truthCol="truth", numResamples=200)
    columns = {"noisy": "raw", "true": "truth", "half": "half"}
    found = evaluator.compare(data, columns, baseline="true")
    assert set(found) == {"noisy", "half"}
    assert found["noisy"]["welfare"].high < 0
    # A common factor changes what is promised alone.
    assert found["half"]["welfare"].value == pytest.approx(0)
    assert found["half"]["revenue"].value == pytest.approx(0)
    assert found["half"]["calibrationRatio"].value == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="'best' is none of"):
        evaluator.compare(data, columns, baseline="best")


def test_ties_are_broken_by_content(spark):
    rows = [("a", 1.0, 0.5, i / 10) for i in range(6)]
    names = "auction string, bid double, p double, truth double"
    chosen = {
        shown(judge(), spark.createDataFrame(order, names).repartition(parts))[0]["truth"]
        for order in (rows, rows[::-1])
        for parts in (1, 3)
    }
    assert len(chosen) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bid", "-1D"),
        ("bid", "double('nan')"),
        ("bid", "double('inf')"),
        ("p", "1.5D"),
        ("p", "double(null)"),
        ("truth", "-0.1D"),
        ("auction", "string(null)"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_the_column(rows, column, value):
    wrong = rows.withColumn(column, F.expr(value))
    with pytest.raises(Exception, match=f"AuctionEvaluator: a row .*'{column}'"):
        judge().evaluate(wrong)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"bidCol": "none"}, "bidCol"),
        ({"auctionCol": "bid"}, "auctionCol"),
        ({"truthCol": "auction"}, "truthCol"),
        ({"bidType": "ocpc"}, "conversionProbabilityCol"),
        ({"conversionProbabilityCol": "truth"}, "ocpc"),
        ({"conversionTruthCol": "truth"}, "conversionTruthCol"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_job(rows, params, words):
    with pytest.raises((TypeError, ValueError), match=words):
        judge(**params).winners(rows)


@pytest.mark.parametrize("factors", [[], [1.2], [0.5, 0.6], [1.0, 0.0], "x"])
def test_factors_that_do_not_fall_are_refused(factors):
    with pytest.raises((TypeError, ValueError), match="positionFactors"):
        AuctionEvaluator(positionFactors=factors)


def test_columns_in_the_way_are_named(rows):
    with pytest.raises(ValueError, match=r"\['price'\].*rename"):
        judge().winners(rows.withColumn("Price", F.lit(1)))


def test_no_rows_are_said(rows):
    with pytest.raises(ValueError, match="no rows"):
        judge().figures(rows.filter("false"))

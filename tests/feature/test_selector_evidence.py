"""PowerLawFeatureSelector where its sample shows little: nothing is dropped on no evidence."""

import pytest
from pyspark.sql import functions as F

from spark_ctr.feature import HashedEmbeddingEncoder, PowerLawFeatureSelector

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def rare(spark):
    """20,000 rows with 40 clicks, all on ads 0 and 1; two flags that differ on twenty rows."""
    i = F.col("id")
    return (
        spark.range(0, 20_000, 1, 4)
        .select(
            F.concat(F.lit("ad"), i % 50).alias("ad"),
            F.concat(F.lit("site"), F.floor(i / 50) % 20).alias("site"),
            F.when(i % 2000 == 7, "yes").otherwise("no").alias("flag"),
            F.when(i % 2000 == 9, "yes").otherwise("no").alias("other_flag"),
            (F.floor(i / 100) % 20).alias("number"),
            F.concat(F.lit("n"), F.floor(i / 100) % 20).alias("copy_of_number"),
            ((i % 50 < 2) & (F.floor(i / 50) % 20 == 3)).cast("int").alias("click"),
            F.date_add(F.lit("2026-01-01").cast("date"), F.floor(i / 8000).cast("int")).alias(
                "day"
            ),
            i.alias("row"),
        )
        .cache()
    )


COLUMNS = ["ad", "site", "flag", "other_flag", "number", "copy_of_number"]


def fitted(log, **params):
    model = PowerLawFeatureSelector(inputCols=COLUMNS, labelCol="click", budget=1000, **params).fit(
        log
    )
    return model, {facts["column"]: facts for facts in model.decisions}


@pytest.mark.parametrize("rows", [500, 20_000])
def test_columns_that_differ_are_no_copies_and_true_ones_are(rare, rows):
    model, facts = fitted(rare, sampleRows=rows)
    assert {"ad", "site", "flag", "other_flag"} <= set(model.selectedCols)
    assert set(COLUMNS) - set(model.selectedCols) == {"number"}
    assert "repeats column 'copy_of_number' value for value" in facts["number"]["reason"]
    assert facts["ad"]["coverage"] == 1


@pytest.fixture(scope="module")
def undecided(rare):
    return fitted(rare, sampleRows=20, seed=1)


def test_a_sample_without_clicks_decides_nothing(undecided):
    model, facts = undecided
    joint = facts["site"]["joint"]
    assert joint["detectable"] == 1.0 and joint["share"] == 0.0
    assert set(model.selectedCols) == set(COLUMNS)
    assert "not decided whether it tells anything" in facts["flag"]["reason"]


def test_one_class_names_the_label_column(rare):
    with pytest.raises(ValueError, match="'click' has 19580 zeros and 0 ones"):
        fitted(rare.where(F.col("click") == 0).where(F.col("ad") > "ad0"))


def test_plan_and_budget_survive_saving(undecided, tmp_path):
    model, _ = undecided
    model.save(str(tmp_path / "selector"))
    loaded = type(model).load(str(tmp_path / "selector"))
    assert loaded.decisions == model.decisions
    # without what models of before do not have
    facts = [
        {k: v for k, v in f.items() if k != "possible_relevance"}
        | {"joint": {k: v for k, v in f["joint"].items() if k != "variance"}}
        for f in loaded.decisions
    ]
    loaded._with(facts, loaded._histograms, 0)
    assert loaded.plotBudget().get_lines()


@pytest.mark.parametrize("kind", ["date", "string"])
def test_days_of_unequal_size_are_an_order(rare, kind):
    log = rare.withColumn("new", F.concat(F.lit("v"), F.floor(F.col("row") / 2)))
    selector = PowerLawFeatureSelector(
        inputCols=["ad", "new"], labelCol="click", budget=100, orderCol="day"
    )
    ad, new = selector.fit(log.withColumn("day", F.col("day").cast(kind))).decisions
    assert ad["unseen_share"] == 0.0
    assert new["unseen_share"] == pytest.approx(1.0)


def test_an_order_that_orders_nothing_is_said_to_be(rare, caplog):
    selector = PowerLawFeatureSelector(
        inputCols=["ad"], labelCol="click", budget=100, orderCol="site"
    )
    in_order = selector.fit(rare).decisions
    assert "orderCol 'site' has no two different times" in caplog.text
    selector.clear(selector.orderCol)
    assert selector.fit(rare).decisions == in_order


def test_a_column_reduced_to_nothing_gets_no_table(rare):
    selector = PowerLawFeatureSelector(inputCols=["ad", "number"], labelCol="click", budget=24)
    model = selector.fit(rare)
    ad, number = model.decisions
    assert number["decision"] == "keep_whole"
    assert ad["decision"] == "drop" and "reduced to nothing" in ad["reason"]
    encoder = HashedEmbeddingEncoder(numericCols=[]).fit(model.transform(rare))
    assert [table["name"] for table in encoder.tables] == ["number"]

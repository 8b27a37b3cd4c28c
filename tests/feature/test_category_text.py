"""What text a categorical value becomes: placeholders, arrays, integers that became doubles."""

from __future__ import annotations

import pytest

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.feature.category_text import texts_of, whole_texts


def cleaned(data, **params):
    model = ClickLogCleaner(categoricalCols=["v"], **params).fit(data)
    return [row.v_clean for row in model.transform(data).orderBy("row").collect()], model


def test_placeholders_are_normalised_as_the_data_is(spark):
    words = ["UNKNOWN", " unknown\t", "not\u00a0 Set", "NOT SET", "x", "İ"]
    data = spark.createDataFrame(list(enumerate(words)), "row int, v string")
    own = ["Unknown", "  not \n set ", "İ"]
    found, model = cleaned(data, missingValues=own, lowercase=True)
    assert found == [None, None, None, None, "x", None]
    assert model.report.collect()[0].missing == 5
    assert cleaned(data, missingValues=own)[0] == [
        *words[:1],
        "unknown",
        "not Set",
        *words[3:5],
        None,
    ]
    defaults = ["N/A", "None", "NaN", "NULL", "\\N", "?", ""]
    data = spark.createDataFrame(list(enumerate(defaults)), "row int, v string")
    assert cleaned(data, lowercase=True)[0] == [None] * 7


def test_arrays_are_cleaned_by_element_and_missing_ones_left_out(spark):
    rows = [[" News ", "SPORT"], ["?", None, "a \t b"], [], None, ["N/A", ""], ["news", "news"]]
    data = spark.createDataFrame(list(enumerate(rows)), "row int, v array<string>")
    found, model = cleaned(data, lowercase=True)
    assert found == [["news", "sport"], ["a b"], None, None, None, ["news", "news"]]
    (report,) = model.report.collect()
    assert (report.rows, report.missing, report.invalid, report.changed) == (6, 3, 0, 4)
    # Found by their marks, they go on through the selector and the encoder.
    out = model.transform(data).selectExpr("*", "double(row % 2) AS label")
    planned = PowerLawFeatureSelector(maxPValue=1.0).fit(out).transform(out)
    encoder = HashedEmbeddingEncoder(minCount=1).fit(planned)
    assert [table["name"] for table in encoder.tables] == ["v_clean"]
    ids = [
        row[0]
        for row in encoder.transform(planned).orderBy("row").select("categoricalFeatures").collect()
    ]
    assert ids[2] == ids[3] == ids[4]
    assert ids[0] != ids[2]
    numbers = spark.createDataFrame([(0, [3, None, -1])], "row int, v array<int>")
    assert cleaned(numbers, missingValues=["-1"])[0] == [["3"]]


def test_integers_that_became_doubles_have_the_integers_text(spark):
    values = [3.0, float("nan"), None, -0.0, 2.0**53, -1.0]
    data = spark.createDataFrame(list(enumerate(values)), "row int, v double")
    found, model = cleaned(data, missingValues=["-1.0"])
    assert found == ["3", None, None, "0", "9007199254740992", None]
    integers = spark.createDataFrame([(0, 3)], "row int, v bigint")
    assert model.transform(integers).collect()[0].v_clean == "3"
    # A model fitted on integers takes the doubles, and gives them the integers' rows.
    encoder = HashedEmbeddingEncoder(inputCols=["v"], minCount=1).fit(integers)
    rows = [encoder.transform(frame).orderBy("row").collect() for frame in (integers, data)]
    assert rows[0][0].categoricalFeatures == rows[1][0].categoricalFeatures
    assert rows[1][1].categoricalFeatures == rows[1][2].categoricalFeatures == [0]


def test_fractions_are_refused_as_categories(spark):
    data = spark.createDataFrame([(i, i / 2) for i in range(400)], "row int, v double")
    expected = r"'v' \((categoricalCols|inputCols)\) is double, and 200 of its 400 numbers are no"
    with pytest.raises(ValueError, match=expected):
        cleaned(data)
    with pytest.raises(ValueError, match=expected):
        HashedEmbeddingEncoder(inputCols=["v"]).fit(data)
    with pytest.raises(ValueError, match=expected):
        PowerLawFeatureSelector(inputCols=["v"], labelCol="y").fit(
            data.selectExpr("*", "row % 2 AS y")
        )
    few = data.selectExpr(
        "row", "CASE row WHEN 7 THEN 0.5D WHEN 8 THEN double('inf') ELSE row END v"
    )
    found, model = cleaned(few)
    assert found[6:10] == ["6", None, None, "9"]
    assert model.report.collect()[0].invalid == 2
    with pytest.raises(ValueError, match="'v': 2"):
        cleaned(few, handleInvalid="error")
    skipped, model = cleaned(few, handleInvalid="skip")
    assert (len(skipped), model.skippedInFit) == (398, 2)


@pytest.mark.parametrize("ansi", ["true", "false"])
def test_decimals_are_written_out_in_either_mode(spark, ansi):
    before = spark.conf.get("spark.sql.ansi.enabled", None)
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    try:
        data = spark.sql(
            "SELECT CAST('0.00000001' AS DECIMAL(20, 8)) v, "
            "array(CAST('-0.00000002' AS DECIMAL(20, 8))) a"
        )
        assert tuple(data.select(texts_of(data, "v"), texts_of(data, "a")).collect()[0]) == (
            "0.00000001",
            ["-0.00000002"],
        )
    finally:
        spark.conf.set("spark.sql.ansi.enabled", before) if before else spark.conf.unset(
            "spark.sql.ansi.enabled"
        )


def test_words_that_are_whole_numbers():
    words = ["-1.0", "9e2", "x", "0.5", " 7 ", "inf", "nan", "1e999"]
    assert whole_texts(words) == ["-1", "900", "7"]

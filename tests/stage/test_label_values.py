"""Labels that are not 0 and 1: recognised, mapped, or refused with the setting that mends it."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.evaluation import CalibrationEvaluator
from spark_ctr.feature import PowerLawFeatureSelector
from spark_ctr.stage.labels import LabelValues, click_label, label_text, unusual_labels


@pytest.fixture(scope="module")
def labels(spark):
    """Thirty rows, a third of them clicks, in columns of several kinds."""
    click = F.col("id") % 3 == 0
    return spark.range(30).select(
        "id",
        click.alias("bool"),
        F.when(click, "Yes ").otherwise("no").alias("text"),
        F.when(click, 1).otherwise(-1).alias("minus"),
        F.when(click, 2.5).otherwise(1.0).alias("numbers"),
        F.when(click, "a").otherwise("b").alias("letters"),
        F.when(F.col("id") == 1, "maybe").when(click, "yes").otherwise("no").alias("three"),
        F.when(F.col("id") > 0, click.cast("int")).alias("holes"),
    )


def clicks(labels, name, positive=None):
    marked = labels.select("id", click_label(labels, name, positive, "test").alias("y"))
    return {row["id"]: row["y"] for row in marked.collect()}


@pytest.mark.parametrize(
    "name, positive",
    [
        ("text", None),
        ("text", "Yes"),
        ("minus", "1"),
        ("numbers", "2.5"),
        ("letters", "a"),
        ("bool", "1"),
    ],
)
def test_the_positive_value_is_1_and_the_other_one_0(labels, name, positive):
    assert clicks(labels, name, positive) == {i: float(i % 3 == 0) for i in range(30)}


def test_a_missing_label_stays_missing(labels):
    assert clicks(labels, "holes", "1")[0] is None
    assert clicks(labels, "holes")[0] is None


@pytest.mark.parametrize(
    "name, positive, message",
    [
        ("letters", None, r"'b' \(20 rows\), 'a' \(10 rows\).*positiveLabel='a'"),
        ("three", "yes", r"two values.*'maybe' \(1 rows\)"),
        ("three", None, r"'maybe' \(1 rows\).*positiveLabel"),
        ("minus", "2", r"positiveLabel='2'.*'-1' \(20 rows\)"),
        ("minus", "yes", "'yes' cannot be a value of label column 'minus', which is int"),
    ],
)
def test_what_cannot_be_mapped_is_named(labels, name, positive, message):
    with pytest.raises(ValueError, match=message):
        click_label(labels, name, positive, "test")


def test_labels_of_minus_1_and_1_never_get_the_advice_to_skip(labels):
    selector = PowerLawFeatureSelector(inputCols=["text"], labelCol="minus", handleInvalid="skip")
    with pytest.raises(ValueError, match="positiveLabel='1'") as told:
        selector.fit(labels)
    assert "skip" not in str(told.value)
    assert unusual_labels(labels, "holes", None) is None
    assert "positiveLabel='2.5'" in str(unusual_labels(labels, "numbers", None))


def test_the_param_takes_texts_numbers_and_booleans():
    assert CTRClassifier(positiveLabel=1).getPositiveLabel() == "1"
    assert CalibrationEvaluator(positiveLabel=True).getPositiveLabel() == "true"
    assert [label_text(v) for v in (-1.0, 0.5, " yes ")] == ["-1", "0.5", "yes"]
    for wrong in ("", None, [1]):
        with pytest.raises(TypeError, match="positiveLabel"):
            label_text(wrong)


def test_pairs_are_recognised_whatever_their_case():
    assert LabelValues({"TRUE": 1, "False": 2}).positive == "TRUE"
    assert LabelValues({"no": 5}).positive == "yes"
    assert LabelValues({"1": 5}).positive == "1"
    assert LabelValues({"Yes": 1, "yes": 1}).positive is None
    assert LabelValues({}).positive is None

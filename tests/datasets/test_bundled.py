"""The bundled data sets against their published counts."""

import pytest
from pyspark.sql import functions as F

from spark_ctr.datasets import adult, bundled_path, open_bandit


@pytest.mark.parametrize(
    ("split", "rows", "positive_rate"), [("train", 32_561, 0.2408), ("test", 16_281, 0.2362)]
)
def test_adult(spark, split, rows, positive_rate):
    people = adult(spark, split)
    count, rate, unknown = people.agg(
        F.count("*"), F.avg("income"), F.sum(F.col("workclass").isNull().cast("int"))
    ).first()
    assert count == rows
    assert rate == pytest.approx(positive_rate, abs=1e-4)
    assert unknown > 0
    kinds = [kind for _, kind in people.dtypes]
    assert (kinds.count("string"), kinds.count("bigint"), kinds.count("tinyint")) == (8, 6, 1)


def test_open_bandit(spark):
    impressions = open_bandit(spark)
    assert dict(impressions.dtypes)["timestamp"] == "timestamp"
    count, clicks, slots, first = impressions.agg(
        F.count("*"),
        F.sum("click"),
        F.array_sort(F.collect_set("position")),
        F.min(F.unix_micros("timestamp")),
    ).first()
    assert (count, clicks, slots) == (60_000, 287, [1, 2, 3])
    assert first == 1_574_553_617_004_101  # 2019-11-24 00:00:17.004101 UTC
    items = open_bandit(spark, "items")
    shown = impressions.select("campaign", "item_id").distinct()
    assert items.count() == 160
    assert shown.join(items, ["campaign", "item_id"], "left_anti").count() == 0


def test_wrong_names_name_the_choices():
    with pytest.raises(ValueError, match="adult"):
        bundled_path("frappe", "train")
    with pytest.raises(ValueError, match="impressions"):
        bundled_path("open_bandit", "train")
    assert (bundled_path("adult", "train").parents[1] / "README.md").is_file()

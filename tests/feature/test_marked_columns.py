"""Columns that lost the cleaner's mark between stages are named in one warning."""

from __future__ import annotations

import logging

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector


def test_columns_that_na_fill_replaced_are_named_once(spark, caplog):
    log = spark.createDataFrame(
        [(i % 2, f"s{i % 3}", f"t{i % 4}", i / 3, i / 7) for i in range(40)],
        "label int, site string, tag string, price double, age double",
    )
    cleaner = ClickLogCleaner(categoricalCols=["site", "tag"], numericCols=["price", "age"])
    clean = cleaner.setNumericTransform("standardize").fit(log).transform(log)
    filled = clean.na.fill("none", ["site_clean"]).na.fill(0.0, ["price_clean"])
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        planned = PowerLawFeatureSelector(maxPValue=1.0).fit(filled).transform(filled)
        encoder = HashedEmbeddingEncoder().fit(planned)
    assert [table["name"] for table in encoder.tables] == ["tag_clean"]
    said = [r.getMessage() for r in caplog.records if "leaves out" in r.getMessage()]
    assert [line.split(":")[0] for line in said] == [
        "PowerLawFeatureSelector leaves out 'site_clean'",
        "HashedEmbeddingEncoder leaves out 'price_clean'",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        HashedEmbeddingEncoder().fit(filled)
        HashedEmbeddingEncoder().fit(clean)
        HashedEmbeddingEncoder(inputCols=["site_clean"], numericCols=["price_clean"]).fit(filled)
    said = [r.getMessage() for r in caplog.records if "leaves out" in r.getMessage()]
    assert [line.split(":")[0] for line in said] == [
        "HashedEmbeddingEncoder leaves out 'site_clean', 'price_clean'"
    ]

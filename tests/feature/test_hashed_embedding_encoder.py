"""Rows that HashedEmbeddingEncoder gives, against its documented hash computed in Python."""

from __future__ import annotations

import pytest
import xxhash

from spark_ctr.feature import HashedEmbeddingEncoder
from spark_ctr.stage.columns import metadata_of

SPARK_SEED = 42  # of xxhash64 in Spark


def bucket(text: str, seed: int, buckets: int) -> int:
    """The specification in words: xxHash64 of the UTF-8 text seeds that of the 8-byte seed."""
    inner = xxhash.xxh64_intdigest(text.encode(), SPARK_SEED)
    outer = xxhash.xxh64_intdigest(seed.to_bytes(8, "little", signed=True), inner)
    signed = outer - (1 << 64) if outer >> 63 else outer
    return signed % buckets


@pytest.fixture(scope="module")
def log(spark):
    texts = ["b"] * 4 + ["a"] * 4 + ["c"] * 3 + ["", "", "ž日本 🛒", "once", None]
    rows = [(i, text, i * 7 % 5, float(i)) for i, text in enumerate(texts)]
    return spark.createDataFrame(rows, "row int, site string, device int, price double")


def ids(model, data):
    out = model.transform(data).orderBy("row")
    return [list(row["categoricalFeatures"]) for row in out.collect()]


def test_private_rows_by_count_then_hashed_rows_by_the_specification(log):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site"], numericCols=[], minCount=2, numBuckets=7, seed=3
    )
    found = [row[0] for row in ids(encoder.fit(log), log)]
    # a and b are equally frequent, so their order is that of their text.
    assert found[:8] == [2] * 4 + [1] * 4
    assert found[8:11] == [3] * 3
    assert found[11:13] == [4] * 2  # the empty text is a value
    assert found[13] == 1 + 4 + bucket("ž日本 🛒", 3, 7)
    assert found[14] == 1 + 4 + bucket("once", 3, 7)
    assert found[15] == 0


def test_unseen_values_and_every_column_has_a_seed_of_its_own(log, spark):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site", "device"], numericCols=[], minCount=100, numBuckets=1000, seed=5
    )
    model = encoder.fit(log)
    data = spark.createDataFrame([(0, "77", 77)], "row int, site string, device int")
    assert ids(model, data) == [[1 + bucket("77", 5, 1000), 1 + bucket("77", 6, 1000)]]


def test_sizes_are_in_the_metadata(log):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site"], numericCols=["price"], numBuckets=7, embeddingDim=6
    )
    model = encoder.fit(log)
    schema = model.transform(log).schema
    facts = {"name": "site", "rows": 1 + 4 + 7, "private": 4, "buckets": 7, "dim": 6}
    assert model.tables == [facts]
    assert metadata_of(schema["categoricalFeatures"])["tables"] == [facts]
    assert metadata_of(schema["numericFeatures"])["names"] == ["price"]
    assert [tuple(row) for row in model.report.collect()] == [("site", 12, 4, 7, 6)]


def test_values_over_the_length_limit_are_hashed(spark):
    long = "x" * 2000
    data = spark.createDataFrame([(i, long) for i in range(5)], "row int, site string")
    model = HashedEmbeddingEncoder(inputCols=["site"], numericCols=[], numBuckets=9).fit(data)
    assert {row[0] for row in ids(model, data)} == {1 + bucket(long, 42, 9)}


def test_many_private_values_are_found_again(spark):
    values = [f"user {i}" for i in range(3000)]
    data = spark.createDataFrame([(i, v) for i, v in enumerate(values * 2)], "row int, site string")
    model = HashedEmbeddingEncoder(inputCols=["site"], numericCols=[], numBuckets=2).fit(data)
    found = [row[0] for row in ids(model, data)]
    assert found[:3000] == found[3000:]
    assert sorted(found[:3000]) == list(range(1, 3001))

"""Rows that HashedEmbeddingEncoder gives, against its documented hash computed in Python."""

from __future__ import annotations

import numpy as np
import pytest

from spark_ctr.feature import HashedEmbeddingEncoder
from spark_ctr.hashing import PADDING, SCHEMES, TailHash, Vocabulary, value_hash, value_hashes
from spark_ctr.networks import Inputs
from spark_ctr.stage.columns import metadata_of


def row(text: str, seed: int, buckets: int, head: int = 0) -> list[int]:
    """Two hashed rows of a value, by the pure specification."""
    tail = TailHash("double", buckets, seed)
    return (1 + head + tail.rows(value_hashes([text]))[0]).tolist()


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
    found = ids(encoder.fit(log), log)
    # a and b are equally frequent, so their order is that of their hash.
    first = {"b": [2, 2], "a": [1, 1]}
    if value_hash("b") < value_hash("a"):
        first = {"b": [1, 1], "a": [2, 2]}
    assert found[:8] == [first["b"]] * 4 + [first["a"]] * 4
    assert found[8:11] == [[3, 3]] * 3
    assert found[11:13] == [[4, 4]] * 2  # the empty text is a value
    assert found[13] == row("ž日本 🛒", 3, 7, head=4)
    assert found[14] == row("once", 3, 7, head=4)
    assert found[15] == [0, 0]


def test_unseen_values_and_every_column_has_a_seed_of_its_own(log, spark):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site", "device"], numericCols=[], minCount=100, numBuckets=1000, seed=5
    )
    model = encoder.fit(log)
    data = spark.createDataFrame([(0, "77", 77)], "row int, site string, device int")
    assert ids(model, data) == [row("77", 5, 1000) + row("77", 6, 1000)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("signed", [False, True])
def test_schemes_follow_the_specification(log, scheme, signed):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site"],
        numericCols=[],
        minCount=100,
        numBuckets=5,
        hashScheme=scheme,
        signedHash=signed,
    )
    tail = TailHash(scheme, 5, 42, signed)
    texts = [r["site"] for r in log.orderBy("row").collect()]
    hashes = value_hashes([text or "" for text in texts])
    missing = np.array([text is None for text in texts])
    wanted = Vocabulary(np.zeros(0, np.int64), tail).rows(hashes, missing)
    model = encoder.fit(log)
    assert ids(model, log) == wanted.tolist()
    (table,) = model.tables
    assert table.get("slots", 1) == tail.slots and table.get("signed", False) == signed


def test_columns_share_one_table_of_hashed_rows(log, spark):
    model = HashedEmbeddingEncoder(
        inputCols=["site", "device"], numericCols=[], minCount=4, sharedBuckets=11, seed=5
    ).fit(log)
    # site: missing, a, b; device: missing and one value that occurs four times; then the tail
    first, second = model.tables
    assert (first["private"], second["private"]) == (2, 1)
    assert first["rows"] == second["rows"] == 3 + 2 + 11
    assert first["shared"] == second["shared"]
    data = spark.createDataFrame(
        [(0, "new", 77), (1, None, None)], "row int, site string, device int"
    )
    new, missing = ids(model, data)
    assert new == [4 + r for r in row("new", 5, 11) + row("77", 6, 11)]
    assert missing == [0, 0, 3, 3]
    assert Inputs.from_dict({"tables": model.tables, "numeric": []}).ids_width == len(new)


def test_an_array_column_is_a_padded_bag(spark):
    rows = [(0, ["a", "b"]), (1, ["a"]), (2, []), (3, None), (4, ["b", None, "a", "c"])]
    data = spark.createDataFrame(rows, "row int, tags array<string>")
    model = HashedEmbeddingEncoder(
        inputCols=["tags"], numericCols=[], numBuckets=1, maxValues=3, pooling="sum"
    ).fit(data)
    row_of = {"a": 1, "b": 2}  # a occurs three times, b twice
    found = ids(model, data)
    assert found[0] == [row_of["a"], row_of["b"], PADDING]
    assert found[1] == [row_of["a"], PADDING, PADDING]
    assert found[2] == found[3] == [0, PADDING, PADDING]
    assert found[4] == [row_of["b"], 0, row_of["a"]]
    (table,) = model.tables
    assert (table["slots"], table["padded"], table["pooling"]) == (3, True, "sum")
    assert Inputs.from_dict({"tables": [table], "numeric": []}).ids_width == len(found[0])
    assert [r["unread_elements"] for r in model.report.collect()] == [1]
    with pytest.raises(TypeError, match="'tags'.*fitted on an array"):
        model.transform(spark.createDataFrame([("a",)], "tags string"))


def test_values_that_differ_in_normalisation_or_only_in_length_are_different(spark):
    texts = ["é", "e\u0301", "", " ", "\0", "x" * 2**20, "x" * 2**20 + "y"]
    data = spark.createDataFrame([(i, t) for i, t in enumerate(texts * 2)], "row int, site string")
    model = HashedEmbeddingEncoder(inputCols=["site"], numericCols=[], numBuckets=1).fit(data)
    found = [r[0] for r in ids(model, data)]
    assert sorted(found[: len(texts)]) == list(range(1, len(texts) + 1))
    assert found[: len(texts)] == found[len(texts) :]
    assert len(model.rowPlan) < 1000  # no text is kept


def test_one_value_repeated_and_all_values_in_one_bucket(spark):
    data = spark.createDataFrame([(i, "same") for i in range(50)], "row int, site string")
    model = HashedEmbeddingEncoder(inputCols=["site"], numericCols=[], numBuckets=1).fit(data)
    assert {tuple(r) for r in ids(model, data)} == {(1,)}
    others = spark.createDataFrame([(i, f"new {i}") for i in range(50)], "row int, site string")
    assert {tuple(r) for r in ids(model, others)} == {(2,)}


def test_private_values_are_named_from_a_dataset(log):
    model = HashedEmbeddingEncoder(inputCols=["site", "device"], numericCols=[], minCount=4).fit(
        log
    )
    named = {tuple(r) for r in model.privateValues(log).collect()}
    order = sorted(["a", "b"], key=value_hash)
    assert named == {("site", 1, order[0]), ("site", 2, order[1]), ("device", 1, "0")}


def test_sizes_are_in_the_metadata(log):
    encoder = HashedEmbeddingEncoder(
        inputCols=["site"], numericCols=["price"], numBuckets=7, embeddingDim=6
    )
    model = encoder.fit(log)
    schema = model.transform(log).schema
    facts = {"name": "site", "rows": 1 + 4 + 7, "private": 4, "buckets": 7, "dim": 6, "slots": 2}
    facts["vocabulary"] = model._columns()[0].vocabulary.fingerprint
    assert model.tables == [facts]
    assert metadata_of(schema["categoricalFeatures"])["tables"] == [facts]
    assert metadata_of(schema["numericFeatures"])["names"] == ["price"]
    assert [tuple(row) for row in model.report.collect()] == [("site", 12, 4, 7, 6, 0)]


def test_many_private_values_are_found_again(spark):
    values = [f"user {i}" for i in range(3000)]
    data = spark.createDataFrame([(i, v) for i, v in enumerate(values * 2)], "row int, site string")
    model = HashedEmbeddingEncoder(inputCols=["site"], numericCols=[], numBuckets=2).fit(data)
    found = [row[0] for row in ids(model, data)]
    assert found[:3000] == found[3000:]
    assert sorted(found[:3000]) == list(range(1, 3001))

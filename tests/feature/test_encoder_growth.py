"""HashedEmbeddingEncoder that goes on from an earlier model."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from spark_ctr.feature import HashedEmbeddingEncoder, HashedEmbeddingEncoderModel
from spark_ctr.hashing import value_hashes


def frame(spark, columns):
    names = list(columns)
    rows = list(zip(range(len(columns[names[0]])), *columns.values(), strict=True))
    kinds = {"tags": "array<string>", "price": "double"}
    schema = ", ".join(["row int", *(f"{n} {kinds.get(n, 'string')}" for n in names)])
    return spark.createDataFrame(rows, schema)


@pytest.fixture(scope="module")
def yesterday(spark):
    return frame(
        spark,
        {
            "site": ["a"] * 3 + ["b"] * 2 + ["once", None],
            "ad": ["x"] * 4 + ["y"] * 3,
            "price": [float(i) for i in range(7)],
        },
    )


@pytest.fixture(scope="module")
def today(spark):
    return frame(
        spark,
        {
            "user": ["u", "v"] * 4,
            "ad": ["z"] * 3 + ["y"] * 2 + ["w"] * 2 + ["rare"],
            "site": ["c"] * 4 + ["b"] * 2 + ["d"] * 2,
            "price": [float(i) for i in range(8)],
        },
    )


def encoder(**settings):
    return HashedEmbeddingEncoder(**{"numericCols": ["price"], "numBuckets": 3, **settings})


def ids(model, data):
    rows = model.transform(data).orderBy("row").collect()
    return np.array([list(row["categoricalFeatures"]) for row in rows])


@pytest.mark.parametrize("shared", [0, 5])
def test_known_values_keep_their_rows_and_new_ones_come_behind(spark, yesterday, today, shared):
    settings = {"sharedBuckets": shared, "hashScheme": "modulo"}
    first = encoder(inputCols=["site", "ad"], seed=7, **settings).fit(yesterday)
    later = encoder(inputCols=["user", "ad", "site"], seed=0, initialModel=first, **settings)
    later.setParams(hashScheme="double", embeddingDim=2, pooling="sum")
    model = later.fit(today)
    facts = {t["name"]: t for t in model.tables}
    assert list(facts) == ["site", "ad", "user"]  # known columns keep their places
    before = {t["name"]: t for t in first.tables}
    assert (facts["site"]["private"], facts["ad"]["private"]) == (4, 4)
    for name in ("site", "ad"):
        assert facts[name]["buckets"] == before[name]["buckets"]
        assert facts[name]["dim"] == before[name]["dim"]
        assert facts[name].get("slots", 1) == before[name].get("slots", 1)
        assert facts[name]["earlier"] == before[name]["vocabulary"] != facts[name]["vocabulary"]
        new = model._heads[["site", "ad"].index(name)]
        old = first._heads[["site", "ad"].index(name)]
        assert new[: len(old)].tolist() == old.tolist()
    newest = {name: model._heads[i][2:].tolist() for i, name in enumerate(("site", "ad"))}
    assert newest["site"] == value_hashes(["c", "d"]).tolist()
    assert newest["ad"] == value_hashes(["z", "w"]).tolist()
    # Every value has the row it had, moved by the rows that came before it in the block.
    old, now = ids(first, yesterday), ids(model, yesterday.selectExpr("*", "'u' as user"))
    if shared:
        block = {"site": (0, 0), "ad": (3, 5)}
        tail = 6, model.tables[0]["rows"] - 5
    for slot, name in enumerate(("site", "ad")):
        start, start_now = block[name] if shared else (0, 0)
        bucket, bucket_now = tail if shared else (3, 5)
        for a, b in zip(old[:, slot], now[:, slot], strict=True):
            assert b == (a - start + start_now if a < bucket else a - bucket + bucket_now)
    seeds = [facts["seed"] for facts in model._categorical]
    assert len(set(seeds)) == 3 and seeds[:2] == [7, 8]


def test_growing_twice_and_not_at_all(yesterday, today, tmp_path):
    first = encoder(inputCols=["site", "ad"]).fit(yesterday)
    stage = encoder(inputCols=["site", "ad"], initialModel=first)
    stage.save(f"{tmp_path}/stage")
    loaded = HashedEmbeddingEncoder.load(f"{tmp_path}/stage")
    assert loaded.getInitialModel().uid == first.uid
    second = loaded.copy().fit(today)
    assert not second.hasParam("initialModel")
    second.save(f"{tmp_path}/model")
    second = HashedEmbeddingEncoderModel.load(f"{tmp_path}/model")
    third = encoder(inputCols=["ad", "site"], initialModel=second).fit(yesterday)
    chain = [[t.get("earlier") for t in m.tables] for m in (first, second, third)]
    names = [[t["vocabulary"] for t in m.tables] for m in (first, second, third)]
    assert chain == [[None, None], names[0], names[1]]
    assert names[1] == names[2] != names[0]  # nothing new in it
    assert ids(third, today).tolist() == ids(second, today).tolist()


def test_columns_that_are_gone_are_named_and_seeds_are_new(yesterday, today, caplog):
    first = encoder(inputCols=["site", "ad"], seed=42).fit(yesterday)
    with caplog.at_level(logging.WARNING, logger="spark_ctr"):
        model = encoder(inputCols=["user", "ad"], initialModel=first).fit(today)
    assert "not encoded any more: ['site']" in caplog.text
    # ad was the second column; a new one takes no seed of a known one.
    assert [facts["seed"] for facts in model._categorical] == [43, 44]


def test_arrays_grow_in_length_and_stay_arrays(spark):
    first = encoder(inputCols=["tags"], numericCols=[], numBuckets=1).fit(
        frame(spark, {"tags": [["a", "b"], ["a"], ["b", "a"]]})
    )
    more = frame(spark, {"tags": [["c", "c", "a"], ["b"]]})
    stage = encoder(inputCols=["tags"], numericCols=[], initialModel=first)
    (table,) = stage.fit(more).tables
    assert (table["slots"], table["private"], table["buckets"]) == (3, 3, 1)
    (table,) = stage.copy().setMaxValues(1).fit(more).tables
    assert table["slots"] == 2
    with pytest.raises(TypeError, match="'tags'.*was an array when initialModel was fitted"):
        stage.fit(more.selectExpr("row", "tags[0] as tags"))


def test_what_cannot_grow_is_refused(yesterday):
    first = encoder(inputCols=["site"]).fit(yesterday)
    with pytest.raises(ValueError, match="sharedBuckets is 4, but 0 in initialModel"):
        encoder(inputCols=["site"], sharedBuckets=4, initialModel=first).fit(yesterday)
    with pytest.raises(TypeError, match="initialModel must be a HashedEmbeddingEncoderModel"):
        encoder(initialModel=encoder())

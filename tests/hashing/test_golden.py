"""The specification in NumPy against the golden rows, which SQL and Scala are held to as well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.hashing import (
    PADDING,
    SCHEMES,
    ColumnRows,
    TailHash,
    Vocabulary,
    row_plan,
    seeded_hash,
    value_hash,
    value_hashes,
)

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
TEXTS = GOLDEN["texts"]
MISSING = np.array([text is None for text in TEXTS])
HASHES = value_hashes([text or "" for text in TEXTS])
SEEDS = st.integers(-(2**63), 2**63 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def vocabulary(plan: dict) -> Vocabulary:
    """Vocabulary of a golden plan."""
    tail = TailHash(plan["scheme"], plan["buckets"], plan["seed"], plan["signed"])
    return Vocabulary(HASHES[plan["head"]], tail, plan["offset"])


def test_value_hashes():
    found = [None if text is None else value_hash(text) for text in TEXTS]
    assert found == GOLDEN["hashes"]


@pytest.mark.parametrize("plan", GOLDEN["plans"], ids=lambda p: f"{p['scheme']}-{p['buckets']}")
def test_rows(plan):
    assert vocabulary(plan).rows(HASHES, MISSING).tolist() == plan["rows"]


@pytest.mark.parametrize("plan", GOLDEN["plans"], ids=lambda p: f"{p['scheme']}-{p['buckets']}")
def test_bags_are_the_rows_of_their_elements_padded(plan):
    rows = plan["rows"]
    for elements, bag in zip(GOLDEN["arrays"], plan["bags"], strict=True):
        read = (elements or [0])[: plan["values"]]  # text 0 is the missing one
        found = [row for element in read for row in rows[element]]
        assert bag == found + [PADDING] * (len(bag) - len(found))


@given(st.lists(st.text(), min_size=1, max_size=20), SEEDS)
def test_seeded_hash_is_the_reference_implementation_chained(texts, seed):
    found = seeded_hash(value_hashes(texts), seed).tolist()
    for text, ours in zip(texts, found, strict=True):
        inner = xxhash.xxh64_intdigest(text.encode(), 42)
        outer = xxhash.xxh64_intdigest(seed.to_bytes(8, "little", signed=True), inner)
        assert ours % 2**64 == outer


@given(
    st.lists(INT64, min_size=1, max_size=50, unique=True),
    st.sampled_from(SCHEMES),
    st.integers(1, 2**30),
    SEEDS,
    st.booleans(),
    st.integers(0, 20),
)
def test_rows_lie_in_the_table_and_private_rows_are_private(
    hashes, scheme, buckets, seed, signed, head
):
    hashes = np.array(hashes, dtype=np.int64)
    tail = TailHash(scheme, buckets, seed, signed)
    found = Vocabulary(hashes[:head], tail, offset=3).rows(hashes)
    assert found.shape == (len(hashes), tail.slots)
    rows = np.where(found < 0, ~found, found)
    private = min(head, len(hashes))
    assert rows[:private].tolist() == [[4 + i] * tail.slots for i in range(private)]
    assert np.all(rows[private:] >= 4 + private) and np.all(rows < 4 + private + buckets)
    assert signed or np.all(found >= 0)


def test_two_hashes_collide_together_far_less_often_than_one():
    hashes = value_hashes(f"value {i}" for i in range(2000))
    pairs = {
        scheme: len(np.unique(TailHash(scheme, 200, 7).rows(hashes), axis=0)) for scheme in SCHEMES
    }
    assert pairs["modulo"] <= 200
    # 2000 values in 200 * 200 and 100 * 100 places: 1952 and 1813 different ones expected
    assert pairs["double"] > 1900
    assert pairs["quotient_remainder"] > 1750


def test_the_signs_are_balanced():
    rows = TailHash("double", 64, 7, signed=True).rows(value_hashes(map(str, range(10_000))))
    assert abs((rows < 0).mean() - 0.5) < 0.02


def test_the_plan_holds_what_its_docstring_says():
    head = HASHES[[2, 3]]
    plan = row_plan([ColumnRows(Vocabulary(head, TailHash("double", 5, -9, True), 4, 77), 3)])
    assert plan[:4] == b"CTR1"
    numbers = np.frombuffer(plan[4:36], "<i4").tolist()
    assert numbers == [1, 1, 1, 3, 5, 4, 77, 2]
    assert np.frombuffer(plan[36:], "<i8").tolist() == [-9, *head.tolist()]


@pytest.mark.parametrize(("scheme", "buckets"), [("cuckoo", 3), ("double", 0)])
def test_wrong_tails_are_refused(scheme, buckets):
    with pytest.raises(ValueError, match="scheme must be one of|at least one bucket"):
        TailHash(scheme, buckets, 0)

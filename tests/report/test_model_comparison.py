"""Measures of models beside each other: exact quality, bytes on disk, time, slots."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F
from sklearn.metrics import log_loss, roc_auc_score

from spark_ctr.estimator.serving_time import microseconds_in_batches
from spark_ctr.report import (
    constant_rate,
    microseconds_per_row,
    model_comparison,
    quality,
    saved_bytes,
    slot_calibration,
)
from spark_ctr.report.model_comparison import merged
from spark_ctr.training.auc_uncertainty import auc_estimate


@pytest.fixture(scope="module")
def scored(spark):
    rng = np.random.default_rng(2)
    p = np.round(rng.random(3000), 3)
    y = (rng.random(3000) < p).astype(float)
    slots = rng.integers(1, 4, 3000)
    rows = [
        (float(a), int(s), Vectors.dense([-b, b]), Vectors.dense([1 - b, b]))
        for a, b, s in zip(y, p.tolist(), slots, strict=True)
    ]
    frame = spark.createDataFrame(rows, ["label", "slot", "rawPrediction", "probability"])
    return y, p, slots, frame.cache()


def test_quality_is_exact(scored):
    y, p, _, frame = scored
    found = quality(frame, "label")
    assert found["auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(y, np.clip(p, 1e-15, 1 - 1e-15)), rel=1e-9)
    assert found["calibration_ratio"] == pytest.approx(p.sum() / y.sum())
    assert 10 < len(found["reliability"]) <= 20
    assert sum(point["rows"] for point in found["reliability"]) == 3000


def test_the_error_of_auc_is_delongs(scored):
    y, p, _, frame = scored
    found = quality(frame, "label")
    assert found["auc_error"] == pytest.approx(auc_estimate(y, p).standard_error, rel=1e-9)


def test_many_rows_are_sampled_for_the_error_only(scored, monkeypatch):
    y, p, _, frame = scored
    monkeypatch.setattr(model_comparison, "RANKED_ROWS", 1500)
    found = quality(frame, "label")
    assert found["auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert found["auc_error"] == pytest.approx(auc_estimate(y, p).standard_error, rel=0.1)


def test_the_constant_rate_is_that_of_the_training_rows(scored):
    y, _, slots, frame = scored
    train, test = frame.filter("slot = 1"), frame.filter("slot > 1")
    rate, tested = y[slots == 1].mean(), y[slots > 1]
    found = constant_rate(train, test, "label")
    assert found["log_loss"] == pytest.approx(log_loss(tested, np.full(len(tested), rate)))
    assert found["calibration_ratio"] == pytest.approx(rate / tested.mean())
    assert (found["rate"], found["auc"]) == (pytest.approx(rate), 0.5)
    nothing = constant_rate(frame.filter("label = 0"), test.filter("label = 0"), "label")
    assert nothing["auc"] is None and nothing["calibration_ratio"] is None
    assert nothing["log_loss"] == pytest.approx(0, abs=1e-12)


def test_quality_of_one_class_has_no_auc(scored):
    clicked = scored[3].filter("label = 1")
    assert quality(clicked, "label")["auc"] is None


def test_slots_are_counted_apart(scored, monkeypatch):
    y, p, slots, frame = scored
    odd = frame.withColumn("slot", F.when(F.col("slot") > 1, F.col("slot")))  # null is a slot too
    found = slot_calibration(odd, "slot", "label")
    assert {row["slot"] for row in found["slots"]} == {None, "2", "3"}
    assert [row["rows"] for row in found["slots"]] == sorted(np.bincount(slots)[1:], reverse=True)
    for row in found["slots"]:
        here = slots == int(row["slot"] or 1)
        assert (row["rows"], row["clicks"]) == (here.sum(), y[here].sum())
        assert row["calibration_ratio"] == pytest.approx(p[here].sum() / y[here].sum())
        assert row["predicted"] == pytest.approx(p[here].sum())
        points = row["reliability"]
        assert len(points) <= 10 and sum(one["rows"] for one in points) == here.sum()
        assert sum(one["rate"] * one["rows"] for one in points) == pytest.approx(y[here].sum())
    assert found["all"]["rows"] == 3000
    assert found["all"]["calibration_ratio"] == pytest.approx(p.sum() / y.sum())
    monkeypatch.setattr(model_comparison, "SLOTS", 1)
    (most,) = (few := slot_calibration(odd, "slot", "label"))["slots"]
    assert most == found["slots"][0] and few["all"]["clicks"] == found["all"]["clicks"]


def test_a_slot_without_clicks_has_no_ratio(scored):
    quiet = slot_calibration(scored[3].filter("label = 0 and slot = 2"), "slot", "label")
    (row,) = quiet["slots"]
    assert (row["clicks"], row["calibration_ratio"]) == (0, None)


point = st.fixed_dictionaries(
    {
        "mean_probability": st.floats(0, 1),
        "rate": st.floats(0, 1),
        "rows": st.integers(1, 1000),
    }
)


@given(st.lists(point, min_size=1, max_size=120), st.integers(1, 30))
def test_merging_keeps_rows_and_sums(points, most):
    found = merged(points, most)
    assert 1 <= len(found) <= most
    for name in ("mean_probability", "rate"):
        before, after = (sum(p[name] * p["rows"] for p in part) for part in (points, found))
        assert after == pytest.approx(before)
    assert sum(p["rows"] for p in found) == sum(p["rows"] for p in points)


def test_saved_bytes_counts_every_file(tmp_path):
    folder = tmp_path / "a b%20"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_bytes(b"12345")
    (folder / "deep" / ".crc").write_bytes(b"123")
    assert saved_bytes(str(folder)) == saved_bytes(f"file://{folder}") == 8


def test_times_are_of_all_rows_and_threads_are_given_back():
    seen = []

    def slow(ids, numeric):
        seen.append((len(ids), torch.get_num_threads()))
        time.sleep(0.002)
        return ids[:, 0]

    threads = torch.get_num_threads()
    ids, numeric = np.zeros((25, 2), np.int32), np.zeros((25, 1), np.float32)
    found = microseconds_per_row({"slow": slow}, ids, numeric, repeats=2, batch_rows=10)
    assert [rows for rows, _ in seen] == [10, 10, 5] * 3
    assert {n for _, n in seen} == {1}
    assert found["slow"] >= 3 * 2000 / 25
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="no rows"):
        microseconds_per_row({"slow": slow}, ids[:0], numeric[:0])


def test_few_rows_are_repeated_to_a_whole_batch():
    seen = []

    def predict(ids, numeric):
        seen.append((ids[:, 0].copy(), numeric[:, 0].copy()))

    ids, numeric = np.arange(20_000)[:, None], np.arange(20_000, dtype=np.float32)[:, None]
    for rows, batches in ((3, 1), (8192, 1), (20_000, 2)):
        seen.clear()
        assert microseconds_in_batches({"": predict}, ids[:rows], numeric[:rows])[""] > 0
        assert {len(first) for first, _ in seen} == {8192} and len(seen) == 10 * batches
        assert all((first == second).all() for first, second in seen)
        assert set(seen[0][0]) == set(range(min(rows, 8192)))
    with pytest.raises(ValueError, match="no rows"):
        microseconds_in_batches({"": predict}, ids[:0], numeric[:0])


def test_timings_in_several_threads_take_turns():
    threads = torch.get_num_threads()
    running, most = [], []

    def predict(ids, numeric):
        running.append(1)
        most.append(len(running))
        time.sleep(0.001)
        running.pop()

    def measure(_):
        return microseconds_per_row({"": predict}, np.zeros((4, 1)), np.zeros((4, 1)))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(measure, range(6)))
    assert max(most) == 1 and torch.get_num_threads() == threads

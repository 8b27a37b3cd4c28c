"""What the benchmark of several tasks draws, trains and compares."""

import numpy as np
import pytest

from benchmarks.frame import Record
from benchmarks.multitask import (
    CONSTANT,
    DIRECT,
    LINEAR,
    SINGLE,
    compared,
    figures,
    labels,
    scored,
)
from benchmarks.multitask_log import drawn, hillstrom


@pytest.fixture(scope="module")
def log(spark):
    """A small drawn log."""
    return drawn("local[2]", 1_000, 0, 0.15, 0.5)


def test_parts_are_apart_and_labels_follow_the_truth(log):
    assert [len(part.click) for part in (log.train, log.valid, log.test)] == [1_000, 500, 1_000]
    label = labels(log.train, 3)
    assert np.array_equal(np.isnan(label[:, 1]), label[:, 0] == 0)
    assert np.array_equal(label[:, 2], np.nan_to_num(label[:, 1]))
    for part in (log.train, log.valid, log.test):
        assert all(part.ids[:, c].max() < t.rows for c, t in enumerate(log.inputs.tables))


def test_the_truth_has_a_calibration_ratio_of_one(log):
    test = log.test
    click, conversion = (np.log(p / (1 - p)) for p in (test.p_click, test.p_conversion))
    for values in figures(click, conversion, test).values():
        assert values["calibration ratio"] == pytest.approx(1.0, abs=1e-6)


def test_every_system_is_trained_and_scored(log):
    for system in (SINGLE, CONSTANT, LINEAR, "shared_bottom", "esmm"):
        found = scored(log, system, [(1e-3, 0.05, 1.0)] * 2, 0, True)
        assert set(found) == {"click", "conversion", "conversion of clicks", "ctcvr"}
        assert all(np.isfinite(v) for values in found.values() for v in values.values())


def test_hillstrom_is_scored_by_labels_of_rows_that_choose_nothing():
    log, other = hillstrom(0), hillstrom(1)
    if isinstance(log, str):
        pytest.skip(log)
    assert [len(part.click) for part in (log.train, log.valid, log.test)] == [22_400, 8_960, 13_440]
    for name in ("ids", "click", "conversion"):
        assert np.array_equal(getattr(log.valid, name), getattr(other.valid, name))
        assert not np.array_equal(getattr(log.test, name), getattr(other.test, name))
    assert not (log.train.conversion > log.train.click).any()
    found = scored(log, CONSTANT, [], 0, True)
    assert set(found) == {"click", "conversion of clicks", "ctcvr"}
    assert set(scored(log, DIRECT, [(1e-3, 0.05, 1.0)], 0, True)) == {"ctcvr"}
    assert found["ctcvr"]["auc"] == 0.5
    rate = log.test.conversion.mean()
    promised = found["ctcvr"]["calibration ratio"] * rate
    learned = np.concatenate([log.train.conversion, log.valid.conversion]).mean()
    assert promised == pytest.approx(learned, rel=1e-4)


def test_differences_are_by_seed():
    rows = [
        Record("click", system, "auc", value, "", seed)
        for seed, (one, other) in enumerate([(0.5, 0.6), (0.6, 0.8)])
        for system, value in ((SINGLE, one), ("mmoe", other))
    ]
    assert "+0.1500 ± 0.0500" in compared(rows)

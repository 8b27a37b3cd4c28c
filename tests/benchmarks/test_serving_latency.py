"""The benchmark of serving times: what its systems compute, and that each is timed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks import serving_latency
from benchmarks.serving_latency import (
    ENSEMBLE,
    FRAPPE_ROWS,
    PEER,
    QUANTISED,
    QUICK_CALLS,
    STUDENT,
    TEACHER,
    predictors,
    timed_calls,
)
from spark_ctr.distillation.ladder import drawn_rows
from spark_ctr.tables import Inputs, Table

INPUTS = Inputs((Table("user", 50, 10), Table("item", 9, 10)), ())


def test_systems_score_the_same_rows():
    systems = predictors(INPUTS, seed=0)
    assert list(systems) == [TEACHER, ENSEMBLE, STUDENT, QUANTISED, PEER]
    batch = drawn_rows(INPUTS, 40, seed=3)
    logits = {name: predict(*batch) for name, predict in systems.items()}
    assert all(values.shape == (40, 1) for values in logits.values())
    np.testing.assert_allclose(logits[QUANTISED], logits[STUDENT], atol=0.02)


def test_systems_take_turns_on_the_same_rows():
    seen = []
    systems = {name: lambda ids, _, name=name: seen.append((name, ids.sum())) for name in "ab"}
    taken = timed_calls(systems, INPUTS, rows=30, calls=4, seed=0)
    assert {name: times.shape for name, times in taken.items()} == {"a": (4, 2), "b": (4, 2)}
    assert [name for name, _ in seen] == ["a", "b"] * (len(seen) // 2)
    assert [ids for name, ids in seen if name == "a"] == [ids for name, ids in seen if name == "b"]
    assert len({ids for _, ids in seen}) == 4


def test_drawn_tables_have_the_values_of_frappe(monkeypatch):
    monkeypatch.setattr(serving_latency, "frappe", lambda: "not there")
    tables = serving_latency.frappe_inputs().tables
    assert len(tables) == 10 and sum(FRAPPE_ROWS) == 5382
    assert [table.dim for table in tables] == [10] * 10


def test_the_quick_version_runs(tmp_path):
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "benchmarks.serving_latency", "--quick", "--json", str(out)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == len(QUICK_CALLS) * 5 * 4
    assert f"{STUDENT} / {TEACHER}" in done.stdout and "threads of torch: 1" in done.stdout

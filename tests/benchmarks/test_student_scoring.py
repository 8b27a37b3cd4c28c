"""The benchmarks of native kernels: what their systems compute, and that each is timed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import one_bit_layer
from benchmarks.calls import timed
from benchmarks.student_peers import onnx_scorers, torch_scorer
from benchmarks.student_programs import Shape, Weights
from benchmarks.student_scoring import NUMPY, TORCH, by_numpy, ours
from spark_ctr.kernels.native.library import instruction_sets

SHAPE = Shape(5, 8, 3, 40)


def test_systems_score_the_same_rows():
    weights = Weights(SHAPE, (32, 16), 0)
    ids, numeric = SHAPE.batch(300, np.random.default_rng(0))
    stacked = ids + (np.arange(5) * 40).astype(np.int32)
    table = torch.from_numpy(weights.float_table)
    expected = torch_scorer(weights, table, torch.float32)(stacked, numeric)
    assert expected.std() > 0.1
    for score in (ours(weights, one_bit=False), by_numpy(weights, one_bit=False)):
        np.testing.assert_allclose(score(ids, numeric), expected, atol=0.2)
    for _, score in onnx_scorers(weights):
        np.testing.assert_allclose(score(stacked, numeric)[0], expected, atol=0.2)
    coarse = ours(weights, one_bit=False, coarse=True)(ids, numeric)
    np.testing.assert_allclose(coarse, expected, atol=0.5)
    by_bits = ours(weights, one_bit=True)(ids, numeric)
    np.testing.assert_allclose(by_bits, by_numpy(weights, one_bit=True)(ids, numeric), atol=1)


@pytest.mark.skipif(not instruction_sets(), reason="the kernels are not built")
def test_layers_agree_to_the_bit():
    systems = one_bit_layer.layers(0)
    names = [name for name in systems if name.startswith("ours")]
    assert len(names) == 2 * len(instruction_sets())
    x = np.random.default_rng(0).standard_normal((70, 1024)).astype(np.float32)
    expected = systems[one_bit_layer.NUMKONG](x)
    for name in names:
        found = systems[name](x)
        if "signs" in name:
            np.testing.assert_array_equal(found, systems[names[1]](x))
        else:
            np.testing.assert_array_equal(found, expected)


def test_systems_take_turns():
    seen = []
    systems = {name: lambda x, name=name: seen.append((name, x)) for name in "ab"}
    records = list(timed("case", systems, [(1,), (2,)], rows=10, calls=5, seed=3))
    assert [name for name, _ in seen] == ["a", "b"] * 6
    assert all(x != y for (_, x), (_, y) in zip(seen[::2], seen[1::2], strict=True))
    seen.clear()
    list(timed("case", systems, [(1,), (2,)], rows=10, calls=4, seed=3, in_a_row=2))
    assert [name for name, _ in seen] == ["a", "a", "b", "b"] * 3
    assert {record.system for record in records} == {"a", "b"} and len(records) == 4
    assert all(record.value >= 0 for record in records)


@pytest.mark.parametrize("name", ["one_bit_layer", "student_scoring"])
def test_the_quick_versions_run(name, tmp_path):
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(out)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert {record["metric"] for record in records} == {"time of a row", "CPU time of a row"}
    assert f"{TORCH}" in done.stdout and (NUMPY in done.stdout) == (name == "student_scoring")

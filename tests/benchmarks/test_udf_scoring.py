"""The benchmark of scoring inside Spark: its models, and that every part is measured."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.constant_predictor import predictor_from_bytes
from benchmarks.frame import read_records
from benchmarks.udf_scoring import models
from spark_ctr.tables import Inputs, Table

ROOT = Path(__file__).parents[2]
MEASURED = {"JVM CPU", "Python CPU", "wall"}
SHARES = {
    *("scan", "clean", "encode", "crossing", "network", "vectors"),
    *("crossing and network", "rest"),
}
FEATURES = ("features", "features, nothing")
OURS = {
    "start-up": {"Python CPU, two workers"},
    "latency": {
        "trigger",
        "32 tasks of 1,000 rows",
        "32 tasks of 1,000 rows, large model",
    },
    **dict.fromkeys(("scan", "clean", "encode", *FEATURES), MEASURED),
}
for model in ("student", "quantised student"):
    OURS |= dict.fromkeys((model, f"features, {model}", f"features, {model}, prediction"), MEASURED)
    OURS[f"{model}, share of CPU"] = SHARES


def test_the_student_is_quantised_with_8_bits_and_1():
    inputs = Inputs((Table("user", 50, 10), Table("item", 9, 10)), ("age",))
    student, quantised = models(inputs, seed=0)
    layers = quantised.packedModel.layers
    assert sorted(set(layers.values())) == ["binary", "int8"]
    assert [name for name in layers if layers[name] == "binary"] == [
        "mlp.layers.hidden_1.linear",
        "mlp.layers.hidden_2.linear",
    ]
    assert student.inputs == quantised.inputs


def test_the_predictor_of_the_crossing_alone_does_nothing():
    logits = predictor_from_bytes(b"")(np.ones((3, 2), np.int32), np.ones((3, 1), np.float32))
    np.testing.assert_array_equal(logits, np.zeros((3, 1)))


@pytest.mark.full  # minutes
@pytest.mark.timeout(900)
def test_every_part_and_the_peer_are_measured(tmp_path):
    # Spark settings of the running tests, Connect's above all, are not the benchmark's.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    out = tmp_path / "records.jsonl"
    command = [sys.executable, "-m", "benchmarks.udf_scoring"]
    environment = kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--quick", "--rows", "2000", "--json", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, set[str]]] = {}
    for record in read_records(out):
        case = record.case.removeprefix("2,000 rows: ")
        found.setdefault(record.system, {}).setdefault(case, set()).add(record.metric)
    assert found == {"spark_ctr": OURS, "pyspark.ml": {"quantised student": MEASURED}}
    again = subprocess.run(
        [*command, "--table", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pyspark.ml / spark_ctr" in again.stdout

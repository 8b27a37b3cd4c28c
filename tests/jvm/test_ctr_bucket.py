"""``ctr_bucket`` as a Python user gets it: the jar in ``spark.jars`` of a fresh session."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from spark_ctr.jvm import jar_path

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe_ctr_bucket.py")
SPARK_MAJOR = int(pyspark.__version__.split(".")[0])


@pytest.fixture(scope="module")
def jar() -> str:
    """Path of the jar for this PySpark, built when it is absent or out of date."""
    command = [sys.executable, str(ROOT / "jvm_udfs" / "build_jar.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return jar_path()


def probe(mode: str, jar: str, folder: Path) -> dict:
    """What a fresh Python process sees in a session that it starts with the jar."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYSPARK_PYTHON=sys.executable)
    # With it a local Connect server takes a free port instead of 15002, which may be in use.
    environment["SPARK_TESTING"] = "1"
    done = subprocess.run(
        [sys.executable, str(PROBE), mode, jar],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["classic", "connect"])
def seen(request, jar, tmp_path_factory) -> dict:
    """Observations of one session per kind."""
    if request.param == "connect":
        if SPARK_MAJOR < 4:
            pytest.skip("PySpark starts a local Connect server with a jar from 4.0 on")
        pytest.importorskip("grpc", reason="Spark Connect needs grpcio")
    observed = probe(request.param, jar, tmp_path_factory.mktemp(request.param))
    assert observed["connect"] == (request.param == "connect")
    return observed


def test_session_with_the_jar_has_the_function(seen):
    assert seen["has"] and seen["listed"]


def test_equals_the_built_in_twin(seen):
    assert len(seen["rows"]) == len(seen["strings"]) > 100
    for string, row in zip(seen["strings"], seen["rows"], strict=True):
        for k, (seed, buckets) in enumerate(seen["constants"]):
            ours, twin = row[2 * k : 2 * k + 2]
            assert ours == twin, (string, seed, buckets)
            assert ours == 0 if string is None else 1 <= ours <= buckets


def test_rows_spread_over_the_buckets(seen):
    of_thousand = [row[2] for row in seen["rows"]]
    assert len(set(of_thousand)) > 90  # of 109 strings; 103 expected, 90 is 6 deviations below


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        ("ctr_bucket(1.5D, 7, 10)", ["UNEXPECTED_INPUT_TYPE", "`value`", "DOUBLE"]),
        ("ctr_bucket('a', '7', 10)", ["UNEXPECTED_INPUT_TYPE", "`seed`", "STRING"]),
        ("ctr_bucket('a', id, 10)", ["NON_FOLDABLE_INPUT", "`seed`"]),
        ("ctr_bucket('a', 7, 0)", ["VALUE_OUT_OF_RANGE", "`numBuckets`", "[1, 2147483647]"]),
        ("ctr_bucket('a', 7, CAST(NULL AS INT))", ["UNEXPECTED_NULL", "`numBuckets`"]),
        ("ctr_bucket('a', 7)", ["WRONG_NUM_ARGS", "(value, seed, numBuckets)"]),
    ],
)
def test_wrong_calls_name_the_argument(seen, call, parts):
    for part in parts:
        assert part in seen["errors"][call]


def test_describe_function_extended(seen):
    for part in ("sparkctr.CtrBucket", "ctr_bucket(value, seed, numBuckets)", "Examples:"):
        assert part in seen["description"]


def test_without_the_jar_there_are_no_jvm_functions(tmp_path):
    assert probe("classic", "", tmp_path) == {"has": False, "connect": False}

"""The JVM functions as a Python user gets them: by the jar in a session's ``spark.jars``."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from golden import BUCKETS, CLEAN, GOLDEN, cleaned, counts, golden_rows, kinds, log_to_count
from probe_functions import PLAN, SCORED, observe
from pyspark.sql import functions as F
from scores import ROWS, VALID

from spark_ctr.hashing import value_hash
from spark_ctr.jvm import has_jvm_functions, jar_path

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe_functions.py")


@pytest.fixture(scope="module")
def jar() -> str:
    """Path of the jar for this PySpark, built when it is absent or out of date."""
    command = [sys.executable, str(ROOT / "jvm_udfs" / "build_jar.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return jar_path()


def probe(jar: str, folder: Path) -> dict:
    """What a fresh Python process sees in a session that it starts with the jar."""
    done = subprocess.run(
        [sys.executable, str(PROBE), jar],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(ROOT), PYSPARK_PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def seen(spark, jar, tmp_path_factory) -> dict:
    """Observations of a session with the jar: that of the tests, or one of its own."""
    if has_jvm_functions(spark):
        return json.loads(json.dumps(observe(spark)))
    assert os.environ.get("SPARK_CTR_TEST_JAR", "0") == "0", "this run's session lacks the jar"
    if "connect" in type(spark).__module__:
        pytest.skip("this run's session on Connect is one without the jar")
    return probe(jar, tmp_path_factory.mktemp("probe"))


@pytest.fixture
def plain(spark):
    """The session of the tests, where it is one without the jar."""
    if has_jvm_functions(spark):
        pytest.skip("this run's session is one with the jar")
    return spark


def test_session_with_the_jar_has_the_function(seen):
    assert seen["has"]
    assert seen["listed"] == sorted(seen["description"]) and len(seen["listed"]) == 8


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        ("ctr_rows(X'00', 'a')", ["VALUE_OUT_OF_RANGE", "`plan`", "cut short"]),
        ("ctr_rows(CAST(NULL AS BINARY), 'a')", ["UNEXPECTED_NULL", "`plan`"]),
        ("ctr_rows(CAST(CAST(id AS STRING) AS BINARY), 'a')", ["NON_FOLDABLE_INPUT", "`plan`"]),
        ("ctr_rows('plan', 'a')", ["UNEXPECTED_INPUT_TYPE", "`plan`", "STRING"]),
        (f"ctr_rows({PLAN}, 'a', 'b')", ["VALUE_OUT_OF_RANGE", "for 1 columns, and there are 2"]),
        (f"ctr_rows({PLAN}, 1.5D)", ["UNEXPECTED_INPUT_TYPE", "`value`", "DOUBLE"]),
        (f"ctr_rows({PLAN})", ["WRONG_NUM_ARGS", "(plan, value, ...)"]),
        ("ctr_value_counts(1D, 0)", ["WRONG_NUM_ARGS", "(label, slice, hash, ...)"]),
        ("ctr_value_counts('a', 0, 1L)", ["UNEXPECTED_INPUT_TYPE", "`label`", "STRING"]),
        ("ctr_value_counts(1D, 0, 'a')", ["UNEXPECTED_INPUT_TYPE", "`hash`", "STRING"]),
        ("ctr_merge_counts(1)", ["WRONG_NUM_ARGS", "(part, block)"]),
        ("ctr_merge_counts('a', X'00')", ["UNEXPECTED_INPUT_TYPE", "`part`", "STRING"]),
        ("ctr_clean('a', '[', array(''))", ["VALUE_OUT_OF_RANGE", "`spaces`", "Unclosed"]),
        ("ctr_clean(1, 'x', array(''))", ["UNEXPECTED_INPUT_TYPE", "`text`", "INT"]),
        (
            "ctr_clean('a', 'x', array(CAST(id AS STRING)))",
            ["NON_FOLDABLE_INPUT", "`missing`"],
        ),
        ("ctr_cut(1D, CAST(NULL AS ARRAY<DOUBLE>))", ["UNEXPECTED_NULL", "`cuts`"]),
        ("ctr_cut('a', array(1D))", ["UNEXPECTED_INPUT_TYPE", "`number`", "STRING"]),
        ("ctr_pack(array(1), array(1D), 1)", ["WRONG_NUM_ARGS", "(ids, numbers, width, count)"]),
        ("ctr_pack(array(1L), array(1D), 1, 1)", ["UNEXPECTED_INPUT_TYPE", "`ids`", "BIGINT"]),
        ("ctr_pack(array(1), array('a'), 1, 1)", ["UNEXPECTED_INPUT_TYPE", "`numbers`", "STRING"]),
        ("ctr_pack(array(1), array(1D), int(id), 1)", ["NON_FOLDABLE_INPUT", "`width`"]),
        ("ctr_pack(array(1), array(1D), 1, CAST(NULL AS INT))", ["UNEXPECTED_NULL", "`count`"]),
        ("ctr_pack(array(1), array(1D), -1, 1)", ["VALUE_OUT_OF_RANGE", "`width`", "-1"]),
        ("ctr_vector(1D)", ["WRONG_NUM_ARGS", "2 (x, y)"]),
        ("ctr_vector(1D, 1)", ["UNEXPECTED_INPUT_TYPE", "`y`", "INT"]),
    ],
)
def test_wrong_calls_name_the_argument(seen, call, parts):
    for part in parts:
        assert part in seen["errors"][call]


def test_describe_function_extended(seen):
    for part in ("sparkctr.CtrRows", "ctr_rows(plan, value, ...)", "Examples:"):
        assert part in seen["description"]["ctr_rows"]
    assert "ctr_value_counts(label, slice, hash, ...)" in seen["description"]["ctr_value_counts"]


def test_scores_are_the_same_with_and_without_the_jar(seen):
    jar, none = seen["scores"]["jar"], seen["scores"]["no jar"]
    assert jar == none
    for name, kind, policy, numbers in SCORED:
        found, rows = jar[f"{name} {kind} {policy} {numbers}"], len(ROWS[name])
        if policy == "error":
            invalid = rows - VALID[name]
            assert found.startswith(f"ValueError: {invalid} of {rows} rows in a batch have feat")
            continue
        skipped = rows - VALID[name] if policy == "skip" else 0
        assert found["skipped"] == skipped
        assert [row[0] for row in found["rows"]] == list(range(rows - skipped))
        assert len({row[1][0] for row in found["rows"]}) > (name != "numbers")


def test_workers_of_a_quantised_model_import_little(seen, spark):
    if has_jvm_functions(spark):
        pytest.skip("the workers of this run's session import all that they may need")
    needless = {"torch"} | ({"pandas"} if hasattr(F, "arrow_udf") else set())
    assert "spark_ctr" in seen["imported"]
    assert not needless & set(seen["imported"])


def test_golden_rows_with_the_jar(seen):
    for golden, found in zip(GOLDEN["plans"], seen["golden"], strict=True):
        assert found == {"rows": golden["rows"], "bags": golden["bags"]}


def test_golden_rows_without_the_jar(plain):
    for golden, found in zip(GOLDEN["plans"], golden_rows(plain), strict=True):
        assert found == {"rows": golden["rows"], "bags": golden["bags"]}


@pytest.fixture(scope="module")
def counted(spark) -> list[list]:
    """The log counted row by row in Python."""
    found: dict[tuple, list] = {}
    for row in log_to_count(spark).collect():
        for column, value in enumerate((row["site"], row["device"], row["tags"])):
            for one in (value or [None]) if column == 2 else [value]:
                key = column, None if one is None else value_hash(str(one))
                counts = found.setdefault(key, [0, 0, 0, 2**31 - 1])
                counts[0] += 1
                counts[1] += row["label"] is not None
                counts[2] += row["label"] == 1.0
                counts[3] = min(counts[3], 2**31 - 1 if row["part"] is None else row["part"])
    keys = sorted(found, key=lambda key: (key[0], key[1] is not None, key[1] or 0))
    return [[*key, *found[key]] for key in keys]


def test_counts_with_the_jar(seen, counted):
    assert seen["counts"] == counted


def test_counts_without_the_jar(plain, counted):
    assert counts(plain) == counted


def _kinds(counted: list[list]) -> list[list]:
    found = Counter((c, h is None, *rest) for c, h, *rest in counted)
    return sorted([*kind, values] for kind, values in found.items())


def test_kinds_with_the_jar(seen, counted):
    assert seen["kinds"] == _kinds(counted)


def test_kinds_without_the_jar(plain, counted):
    assert kinds(plain) == _kinds(counted)


@pytest.mark.full  # test_golden_rows_without_the_jar sees it in the session of the tests
def test_without_the_jar_there_are_no_jvm_functions(tmp_path):
    assert probe("", tmp_path) == {"has": False}


_CLEANED = [
    [text, [one for one in CLEAN if one is not None], bucket]
    for text, bucket in zip(CLEAN, BUCKETS, strict=True)
]


def test_cleaned_with_the_jar(seen):
    assert seen["cleaned"] == _CLEANED


def test_cleaned_without_the_jar(plain):
    assert cleaned(plain) == _CLEANED

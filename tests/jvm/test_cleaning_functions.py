"""Texts and numbers cleaned by the JVM functions as by Spark's: the same over all of Unicode."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from spark_ctr.feature import clean_text, quantile_buckets
from spark_ctr.jvm import has_jvm_functions

ROOT = Path(__file__).resolve().parents[2]
COMPILED = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "CODEGEN_ONLY",
}
WORDS = ["", "?", "null", "NULL", "N/A", "\\N", "İ", "not set", "ﬀ " * 50]
# All that is white space to Java, Python or Unicode, or looks so, and bytes of every length.
SPACES = (
    "\t\n\v\f\r \x00\x1b\x1c\x1f\x7f\x80\x85\x9f\xa0\u1680\u180e\u2000\u2007\u200b\u2028\u2029"
    "\u202f\u205f\u2060\u3000\ufeff\U000e0020"
)
_inner = st.text(
    st.one_of(
        st.sampled_from(SPACES),
        st.sampled_from("aZ0~!é߿ࠀ￿�𐀀😀İıﬀς"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=24,
)
_ends = st.text(st.sampled_from(SPACES), max_size=3)
_texts = st.one_of(
    st.none(),
    _inner,
    st.tuples(_ends, st.sampled_from(WORDS), _ends).map("".join),
    st.tuples(_inner, st.integers(1, 400)).map(lambda made: made[0] * made[1]),
)
_batches = st.lists(st.one_of(st.none(), st.lists(_texts, max_size=6)), min_size=30, max_size=80)


@pytest.fixture
def with_functions(spark):
    """The session of the tests, where it is one with the jar."""
    if not has_jvm_functions(spark):
        pytest.skip("this run's session is one without the jar")
    return spark


def both_ways(data, name, array, lowercase):
    """Columns ``old`` and ``new``: by Spark's functions and by the JVM function."""
    made = []
    for alias, jvm in ("old", False), ("new", True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clean_text, "use_jvm_functions", lambda _, jvm=jvm: jvm)
            cleaned = clean_text.clean_texts(data, F.col(name), array, WORDS, lowercase)
            made.append(cleaned.alias(alias))
    return data.select(*made)


def different(data, name, array, lowercase=False):
    """Rows that are cleaned differently, compared byte by byte."""
    both = both_ways(data, name, array, lowercase)
    assert both.schema["old"].dataType == both.schema["new"].dataType
    assert both.schema["old"].nullable == both.schema["new"].nullable
    if array:
        return both.filter(~F.col("old").eqNullSafe(F.col("new"))).collect()
    old, new = (F.hex(F.col(one).cast("binary")) for one in ("old", "new"))
    return both.filter(~old.eqNullSafe(new)).select(old, new).collect()


@pytest.fixture(params=[False, True], ids=["interpreted", "compiled"])
def compiled(with_functions, request):
    """The session, with and without compiled expressions."""
    spark = with_functions
    before = {name: spark.conf.get(name) for name in COMPILED}
    for name, value in COMPILED.items() if request.param else ():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=_batches, lowercase=st.booleans())
def test_texts_and_arrays_are_cleaned_alike(compiled, batch, lowercase):
    rows = [(texts, texts[0] if texts else None) for texts in batch]
    # More rows than one partition's, so that Spark does not evaluate them by itself.
    data = compiled.createDataFrame(rows, "texts array<string>, text string").repartition(2)
    assert different(data, "text", False, lowercase) == []
    assert different(data, "texts", True, lowercase) == []


_EDGES = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 1.7976931348623157e308]


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.sets(st.floats(allow_nan=False, allow_infinity=False), max_size=70).map(sorted),
    others=st.lists(st.floats(), max_size=30),
)
def test_numbers_fall_into_the_same_buckets(compiled, cuts, others):
    near = [math.nextafter(cut, way) for cut in cuts for way in (-math.inf, math.inf)]
    rows = [(number,) for number in [None, *_EDGES, *cuts, *near, *others]]
    data = compiled.createDataFrame(rows, "number double").repartition(2)
    made = {}
    for jvm in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quantile_buckets, "use_jvm_functions", lambda _, jvm=jvm: jvm)
            made[jvm] = quantile_buckets.bucket(data, F.col("number"), cuts)
    assert data.filter(~made[False].eqNullSafe(made[True])).collect() == []
    found = data.filter(F.col("number").between(-1e308, 1e308)).select("number", made[True])
    for number, bucket in found.collect():
        assert int(bucket) == sum(cut <= number for cut in cuts)


@pytest.mark.parametrize("lowercase", [False, True])
def test_every_character_is_cleaned_alike(with_functions, lowercase):
    points = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    blocks = [points[i : i + 256] for i in range(0, len(points), 256)]
    rows = [("".join(f"{chr(c)} {chr(c)}a{chr(c)}" for c in block),) for block in blocks]
    data = with_functions.createDataFrame(rows, "text string").repartition(2)
    assert different(data, "text", False, lowercase) == []


def test_broken_utf8_is_cleaned_alike(with_functions):
    broken = [
        "FF",
        "20FF20",
        "61C0806120",  # too long for its character
        "EDA080EDB080",  # surrogates
        "F4908080",  # beyond the last character
        "F8888080",
        "6120C2",  # cut short
        "E28020",
        "F09F9820",
        "4E2F41FF",
        "8041",
        "41E2FF8080C2A020",
    ]
    data = with_functions.createDataFrame([(one,) for one in broken], "hex string").repartition(2)
    data = data.select(F.unhex("hex").cast("string").alias("text"))
    assert different(data, "text", False) == []
    assert different(data, "text", False, lowercase=True) == []


def test_in_a_session_with_the_jar(spark):
    if has_jvm_functions(spark):
        pytest.skip("this run's session is one with the jar")
    command = [sys.executable, str(ROOT / "jvm_udfs" / "build_jar.py")]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        cwd=ROOT,
        env=dict(os.environ, SPARK_CTR_TEST_JAR="1"),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "7 passed, 1 skipped" in done.stdout

"""Standardised numbers: precise relative to their spread, at any size."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from pyspark.sql import types as T

from spark_ctr.feature import ClickLogCleaner
from spark_ctr.feature.standardisation import Frame, Standardisation

MAX, TINY = sys.float_info.max, math.ulp(0.0)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 6.0), (-MAX, MAX), (0.0, TINY), (TINY, 2 * TINY), (1e15, 1e15 + 0.125)]
)
def test_a_frame_keeps_numbers_near_one_in_its_unit(low, high):
    frame = Frame.around(low, high)
    assert low <= frame.origin <= high
    for number in (low, high):
        assert abs(number / frame.unit - frame.origin / frame.unit) <= 2 * frame.spread / frame.unit
    assert 0 < frame.spread <= min(high - low, MAX)


def test_equal_numbers_have_deviation_one_at_themselves():
    for number in (14.62, 1 / 3, MAX, -0.0, 2**62 + 1):
        scale = Standardisation.of(Frame.around(number, number), 0.0, 0.0)
        assert (scale.frame.origin, scale.mean, scale.deviation) == (number, 0.0, 1.0)
        assert scale.facts()["mean"] == float(number)


def test_facts_are_finite_and_come_back():
    frame = Frame.around(-MAX, MAX)
    scale = Standardisation.of(frame, 0.1, 2.5)
    facts = scale.facts()
    assert facts["std"] == MAX  # more than a double holds
    assert math.isfinite(facts["mean"])
    again = Standardisation.from_facts(facts)
    assert (again.frame.origin, again.frame.unit) == (frame.origin, frame.unit)
    assert (again.mean, again.deviation) == (scale.mean, scale.deviation)
    tiny = Standardisation.of(Frame.around(0.0, TINY), 0.5, 0.7).facts()
    assert tiny["std"] > 0


def test_statistics_of_earlier_versions_standardise_as_they_did(spark):
    old = Standardisation.from_facts({"mean": 3.0, "std": 2.0})
    data = spark.createDataFrame([(7.0,), (3.0,)], "x double")
    assert [r[0] for r in data.select(old.apply(data["x"], T.DoubleType())).collect()] == [2.0, 0.0]


@pytest.fixture(scope="module")
def numbers(spark):
    """Columns of 200 rows, in several partitions; what is expected is computed by numpy."""
    n = np.arange(200.0)
    columns = {
        "offset": 1.7326e15 + n,
        "ulps": 1e15 + 0.125 * (n % 2),
        "small": 1e9 + 0.001 * n,
        "denormal": TINY * (n % 7),
        "sentinel": np.where(n % 10 == 0, MAX, n % 7),
        "opposite": np.where(n % 10 == 0, MAX, -MAX),
        "float_max": np.where(n % 10 == 0, 3.4028234663852886e38, n % 7),
        "zeros": np.where(n % 2 == 0, -0.0, 0.0),
        "constant": np.full(200, 1732600000123.0),
    }
    rows = list(zip(*[c.tolist() for c in columns.values()], strict=True))
    rows = [(*row, 2**60 + i, 2**62) for i, row in enumerate(rows)]
    names = [*columns, "nanoseconds", "equal"]
    kinds = ["double"] * len(columns) + ["bigint"] * 2
    schema = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
    return spark.createDataFrame(rows, schema).repartition(3), names


def test_any_column_gets_mean_0_and_deviation_1_or_is_0_if_constant(numbers):
    data, names = numbers
    model = ClickLogCleaner(numericCols=names, numericTransform="standardize").fit(data)
    found = model.transform(data).toPandas()
    for name in names:
        clean = found[f"{name}_clean"].to_numpy()
        if name in ("zeros", "constant", "equal"):
            assert not clean.any(), name
        else:
            assert abs(clean.mean()) < 1e-6, name
            assert clean.std(ddof=1) == pytest.approx(1, abs=1e-6), name
    step = np.diff(np.sort(found["nanoseconds_clean"]))
    assert step == pytest.approx(np.full(199, 1 / np.arange(200).std(ddof=1)))


def test_buckets_and_logarithms_of_any_numbers(numbers):
    data, names = numbers
    cleaner = ClickLogCleaner(numericCols=names, numericTransform="log+quantile", numBuckets=5)
    model = cleaner.fit(data)
    found = model.transform(data).toPandas()
    for name in names:
        clean = found[f"{name}_clean"].to_numpy()
        assert np.isfinite(clean).all(), name
        assert abs(clean.mean()) < 1e-3, name
        cuts = model._statistics["numeric"][name]["cuts"]
        assert cuts == sorted(set(cuts)), name
        assert all(math.isfinite(cut) for cut in cuts), name
        expected = np.searchsorted(cuts, found[name].to_numpy().astype(float), side="right")
        assert found[f"{name}_bucket_clean"].tolist() == [str(i) for i in expected], name
    assert found["sentinel_bucket_clean"].nunique() > 3


def test_numbers_of_any_type_are_cleaned(spark):
    data = spark.range(40).selectExpr(
        "id % 4 = 0 AS flag", "cast(id % 5 AS decimal(10, 2)) AS money", "cast(id AS float) AS f"
    )
    names = data.columns
    out = ClickLogCleaner(numericCols=names, numBuckets=8).fit(data).transform(data).toPandas()
    for name in names:
        assert abs(out[f"{name}_clean"].mean()) < 1e-6, name
    assert out.groupby("flag")["flag_bucket_clean"].nunique().tolist() == [1, 1]
    assert out["flag_bucket_clean"].nunique() == 2


def test_a_bigint_beside_nulls_comes_as_double_and_is_standardised_alike(numbers, spark):
    data, _ = numbers
    small = data.selectExpr("cast(offset as bigint) AS x")
    model = ClickLogCleaner(numericCols=["x"], numericTransform="standardize").fit(small)
    out = model.transform(small.selectExpr("cast(x as double) AS x"))
    alike = model.transform(small).unionByName(out).groupBy("x").agg({"x_clean": "stddev"})
    assert all(abs(row[1]) < 1e-9 for row in alike.collect())

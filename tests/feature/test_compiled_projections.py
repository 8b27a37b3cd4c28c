"""Wide projections stay out of Spark's whole-stage methods, which would be too long to compile."""

import pytest

from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder
from spark_ctr.jvm import has_jvm_functions

COMPILED = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}


@pytest.fixture(autouse=True)
def compiled(spark):
    """Compile stages, which few rows do not repay elsewhere."""
    before = {name: spark.conf.get(name) for name in COMPILED}
    for name, value in COMPILED.items():
        spark.conf.set(name, value)
    yield
    for name, value in before.items():
        spark.conf.set(name, value)


def _projections(dataset, capsys):
    dataset.explain()
    return [line for line in capsys.readouterr().out.splitlines() if "Project [" in line]


def test_cleaner_and_encoder_are_compiled_apart(spark, capsys):
    if has_jvm_functions(spark):
        pytest.skip("the JVM functions are a call each, which no method is too short for")
    log = spark.range(20).selectExpr("concat('s', id) AS site", "rand(0) AS price")
    assert all("*(" in line for line in _projections(log, capsys))
    higher_order = log.selectExpr("transform(array(price), x -> x) AS prices")
    if any("*(" in line and "prices#" in line for line in _projections(higher_order, capsys)):
        pytest.skip("this Spark compiles higher-order functions, so they keep nothing apart")
    cleaned = ClickLogCleaner(categoricalCols=["site"], numericCols=["price"]).fit(log)
    cleaned = cleaned.transform(log)
    encoded = HashedEmbeddingEncoder().fit(cleaned).transform(cleaned)
    for dataset, output in (cleaned, "site_clean"), (encoded, "categoricalFeatures"):
        made = [line for line in _projections(dataset, capsys) if f"AS {output}#" in line]
        assert made
        assert not any("*(" in line for line in made)

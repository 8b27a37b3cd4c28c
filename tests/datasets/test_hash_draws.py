"""The draws against the distributions they are named after."""

import numpy as np
import pytest
from scipy import stats

from spark_ctr.datasets.hash_draws import (
    _alias_table,
    hash_bits,
    standard_normal,
    uniform,
    weighted_index,
    zipf_rank,
)

ROWS = 20_000


def test_draws_follow_their_distributions(spark):
    rows = spark.range(ROWS).select(
        uniform(("u",), "id").alias("u"),
        standard_normal(("z",), "id").alias("z"),
        standard_normal(("z",), "id", turn=(0.0, "id")).alias("unturned"),
        standard_normal(("z",), "id", turn=(1.0, "id")).alias("turned"),
        weighted_index(("w",), "id", weights=[1.0, 0.0, 3.0, 4.0]).alias("w"),
        zipf_rank(("r",), "id", vocabulary=1000, exponent=1.5).alias("r"),
        zipf_rank(("one",), "id", vocabulary=1, exponent=1.0).alias("one"),
        hash_bits(("b",), "id").alias("b"),
    )
    drawn = rows.toPandas()
    assert stats.kstest(drawn["u"], "uniform").pvalue > 1e-6
    assert stats.kstest(drawn["z"], "norm").pvalue > 1e-6
    assert stats.kstest(drawn["turned"], "norm").pvalue > 1e-6
    assert np.allclose(drawn["z"], drawn["unturned"])
    assert np.bincount(drawn["w"]) / ROWS == pytest.approx([0.125, 0, 0.375, 0.5], abs=0.02)
    assert drawn["b"].is_unique
    assert set(drawn["one"]) == {1}
    edges = (np.arange(1001) + 0.5) ** -0.5
    expected = np.r_[-np.diff(edges)[:9], edges[9] - edges[-1]] / (edges[0] - edges[-1])
    counts = np.bincount(np.minimum(drawn["r"], 10))[1:]
    assert stats.chisquare(counts, expected * ROWS).pvalue > 1e-6


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [0.0, 5.0, 0.0], [0.1] * 24])
def test_alias_table_keeps_the_weights(weights):
    threshold, alias = _alias_table(weights)
    mass = np.array(threshold)
    np.add.at(mass, alias, 1.0 - np.array(threshold))
    assert mass / len(weights) == pytest.approx(np.array(weights) / sum(weights))

"""The benchmark of power-law fits on few values: the peers agree. Times are not looked at."""

import numpy as np
import pytest

pytest.importorskip("powerlaw")
from benchmarks import power_law_fit as benchmark


def test_fit_agrees_with_the_peers():
    records = list(benchmark._fits("few", benchmark._values(3000, 0), 0, 1))
    answers: dict[str, dict[str, float]] = {}
    for record in records:
        if record.case == "fit, few":
            answers.setdefault(record.system, {})[record.metric] = record.value
    assert {"spark_ctr", "powerlaw"} <= set(answers)
    ours = answers["spark_ctr"]
    for theirs in answers.values():
        assert theirs["xmin"] == ours["xmin"]
        assert theirs["alpha"] == pytest.approx(ours["alpha"], abs=2e-4)
    assert "powerlaw's time / ours" in ours


def test_values_are_the_drawn_law():
    values = benchmark._values(2000, 1)
    assert len(values) == 2000 and values.dtype == np.int64 and values.min() == 1


def test_ratios_and_p_values_are_recorded():
    values = benchmark._values(500, 0)
    metrics = {r.metric for r in benchmark._ratios("few", values, 0, 1)}
    assert {"time", "ratio to lognormal", "p of truncated_power_law"} <= metrics
    values = [r.value for r in benchmark._p_values("few", values, 0, 1) if r.metric == "p"]
    assert values and all(0 <= p <= 1 for p in values)

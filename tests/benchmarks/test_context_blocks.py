"""What the benchmark of contexts trains, times and compares."""

import argparse

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.context import BLOCKS, CONTEXT, OF_LOG, RATES, SYSTEMS, compared, params_of, times
from benchmarks.frame import Record
from benchmarks.model_zoo import fitted
from benchmarks.model_zoo_logs import Log, Rows
from spark_ctr.networks import Inputs, Table

ARGUMENTS = argparse.Namespace(quick=True, epochs=None, precision="float32", systems=list(SYSTEMS))


@pytest.fixture(scope="module")
def log():
    """Rows of a domain and an ad, whose clicks mean something."""
    random = np.random.default_rng(0)
    ids = random.integers(0, [4, 9], (600, 2)).astype(np.int32)
    label = (random.random(600) < (1 + ids[:, 0]) / 9).astype(np.float32)
    rows = Rows(ids, random.normal(size=(600, 1)).astype(np.float32), label)
    inputs = Inputs((Table("domain_clean", 4, 3), Table("ad", 9, 2)), ("price",))
    half = np.arange(300)
    return Log(inputs, rows.take(half), rows.take(half + 300))


def test_systems_differ_from_their_network_by_the_context_alone(log):
    for system in SYSTEMS:
        plain = params_of("drawn", system.split(", ")[0], log, 1e-3)
        found = params_of("drawn", system, log, 1e-3)
        assert {**plain, **found} == found
        context = {"contextEnhancement", "contextCols"} if ", " in system else set()
        assert {*found} - {*plain} == context
    assert params_of("drawn", "dnn, epnet", log)["contextCols"] == ["domain_clean"]
    assert {*RATES} == {*OF_LOG} == {*CONTEXT} and len(BLOCKS) == 6
    with pytest.raises(ValueError, match="frappe has none of the columns"):
        params_of("frappe", "dnn, epnet", log)


def test_every_system_is_timed_and_some_are_trained(log):
    rows = list(times("drawn", log, ARGUMENTS))
    assert {(r.system, r.case) for r in rows} == {
        (system, f"drawn: {what}")
        for system in SYSTEMS
        for what in ("weights", "a row, float32", "a row, 8 bits")
    }
    assert all(r.value > 0 for r in rows)
    for system in ("dnn", "dnn, epnet", "dcnv2, pepnet"):
        found = fitted(log, params_of("drawn", system, log), 0, ARGUMENTS)
        assert 0.4 < found.figures["auc"] < 1 and np.isfinite(found.best["valid_loss"])


def test_differences_from_the_plain_network_are_by_seed():
    rows = [
        Record("drawn", system, "auc", value, "", seed)
        for seed, (one, other) in enumerate([(0.5, 0.6), (0.6, 0.8)])
        for system, value in (("dnn", one), ("dnn, epnet", other))
    ]
    assert "+0.1500 ± 0.0500" in compared(rows)

"""Processes that load one model: they share its tables, and the benchmark of it measures that."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.frame import OURS, run
from benchmarks.model_loading import (
    IN_MEMORY,
    LOADERS,
    generated_model,
    load_in_workers,
    measure,
    rows_of,
)
from spark_ctr.runtime.serialization import packed_from_bytes

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes share"),
]
_MIB = 1 << 20


def test_a_worker_more_costs_a_tenth_of_the_tables_at_most(tmp_path):
    table = 64 * _MIB
    data = generated_model(64)
    packed = packed_from_bytes(data)
    assert packed.to_arrays()[1]["tables.index"].nbytes == table
    logits = packed.predict_logits(*rows_of(packed.inputs.tables[0].rows))
    mapped = load_in_workers(data, OURS, 3, str(tmp_path))
    alone = load_in_workers(data, IN_MEMORY, 1)
    for worker in (*mapped, *alone):
        np.testing.assert_array_equal(worker.logits, logits)
    # Of the first one too, since its pages are the others' as well.
    assert max(worker.gained["Private"] for worker in mapped) <= table / 10
    assert min(worker.gained["Shared"] for worker in mapped) >= table
    # And what is compared is there at all.
    assert alone[0].gained["Private"] >= table
    (file,) = tmp_path.glob("spark_ctr-*/*")
    assert file.read_bytes() == data


def test_every_system_is_measured(tmp_path):
    records = run(measure, "", peer=IN_MEMORY, argv=["--quick", "--json", str(tmp_path / "r")])
    assert {record.system for record in records} == set(LOADERS)
    assert {record.metric for record in records} == {
        "load, first worker",
        "load, other workers",
        "private memory of a worker",
        "shared memory of a worker",
    }

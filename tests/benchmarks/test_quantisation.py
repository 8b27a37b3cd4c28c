"""The quantisation benchmark: every system is there, and coarse tables lose what they say."""

import argparse

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from benchmarks import quantisation
from benchmarks.model_zoo_logs import Log, Rows
from benchmarks.quantisation_coarse import coarse_rows
from benchmarks.quantisation_table import STUDENT, quantisation_table
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.precision.rare_rows import rare_rows

INPUTS = Inputs((Table("user", 90, 8), Table("ad", 70, 8)), ("age",))


def rows(count, seed):
    draw = np.random.default_rng(seed)
    ids = np.stack([draw.zipf(1.5, count) % table.rows for table in INPUTS.tables], 1)
    label = draw.random(count) < 1 / (1 + np.exp(1.0 - (ids[:, 0] < 4) * 2.0))
    numeric = draw.normal(size=(count, 1)).astype(np.float32)
    return Rows(ids.astype(np.int32), numeric, label.astype(np.float32))


def test_every_system_is_measured(monkeypatch):
    log = Log(INPUTS, rows(600, 0), rows(300, 1), valid=rows(200, 2))
    monkeypatch.setattr(quantisation, "opened", lambda name, arguments: log)
    names = [quantisation.DEFAULT, *quantisation.SYSTEMS]
    asked = argparse.Namespace(
        data=["adult"], systems=names, teachers=None, students=None, table=None, quick=True,
        seeds=[0], hidden=[12, 8, 6], epochs=None, precision="float32",
    )  # fmt: skip
    found = {
        (r.system, r.metric): r.value for r in quantisation.measure(asked) if r.case == "adult"
    }
    for metric in ("auc", "log_loss", "calibration ratio", "bytes", "tables", "time per row"):
        values = [found[name, metric] for name in [*names, STUDENT, quantisation.TEACHER]]
        assert np.isfinite(values).all()
    assert found["1 bit, all", "1-bit layers"] == 2 and found["8 bits", "1-bit layers"] == 0
    # Half of the tables' bytes and one a row; scales aside.
    half = found["8 bits", "tables"] - 160 * (8 / 2 - 1)
    assert found["4 bits, all rows", "tables"] == half
    assert half < found["4 bits, rare rows", "tables"] < found["8 bits", "tables"]
    assert found["2 bits, rare rows", "bytes"] < found["4 bits, rare rows", "bytes"]


def test_the_table_has_a_row_a_system(monkeypatch):
    record = quantisation.Record
    records = [
        record("adult", name, metric, value, "", seed)
        for seed in (0, 1)
        for name in (STUDENT, "8 bits")
        for metric, value in (("auc", 0.9 + seed / 100), ("log_loss", 0.3), ("bytes", 1000.0))
    ]
    lines = quantisation_table(records).splitlines()
    assert len(lines) == 4 and "0.9050" in lines[2] and "1,000" in lines[3]


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_rare_rows_are_coarse(bits, share, by_row):
    network = build_network("dnn", INPUTS, {"hidden_layers": [4]}, seed=0)
    ranges = rare_rows(network, [torch.from_numpy(rows(2000, 3).ids)], share)
    made, saved = coarse_rows(network, ranges, bits, by_row)
    (before,), (after,) = (
        [w for name, w in n.state_dict().items() if "embedding" in name] for n in (network, made)
    )
    changed = (before != after).any(1)
    ((user, ad),) = ranges.values()
    expected = torch.zeros(160, dtype=torch.bool)
    expected[user[0] : user[1]] = expected[90 + ad[0] : 90 + ad[1]] = True
    assert torch.equal(changed, expected) and changed.any()
    assert saved == changed.sum() * (8 * (8 - bits) / 8 - by_row)
    for part in (slice(0, 90), slice(90, 160)):
        values, exact = after[part][changed[part]], before[part][changed[part]]
        for coarse in values if by_row else values[None]:
            assert len(torch.unique(coarse)) <= 2**bits - 1
        # No worse than nothing at all, and closer the more bits.
        gap = (values - exact).square().mean()
        assert gap < (0.5 if bits == 2 else 0.05) * exact.square().mean()

"""Every part of the GPU benchmark runs, on a stand-in for a device; its figures mean nothing."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.frame import OURS
from spark_ctr.rows import scored_batches
from spark_ctr.runtime import cuda_predictor
from tests.gpu.host import compile_for_host
from tests.gpu.stand_in import HostDevice

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return compile_for_host(tmp_path_factory.mktemp("host"))


@pytest.mark.parametrize("part", gpu.PARTS)
def test_a_part_runs(host, monkeypatch, part):
    device = HostDevice(host)
    monkeypatch.setattr(cuda_predictor, "_device", lambda _: device)
    monkeypatch.setattr(scored_batches, "_predictors", type(scored_batches._predictors)())
    records = list(gpu.PARTS[part](device, torch.device("cpu"), True, 0))
    systems = {record.system for record in records}
    assert len(systems) > 1
    assert any(OURS in system for system in systems) or part == "host"
    assert bool(device.launched) == (part != "training")
    assert all(record.value >= 0 for record in records)

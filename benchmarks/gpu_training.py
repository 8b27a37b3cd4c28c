"""Training on a GPU beside a plain torch loop: a part of `benchmarks.gpu`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.dcnv2 import PlainDCNv2, our_network
from benchmarks.frame import OURS, Record
from benchmarks.gpu_peers import waiting
from benchmarks.throughput_log import N_IDS, N_NUMERIC, columns, write_log
from spark_ctr.kernels.cuda import Device
from spark_ctr.training.feeds import open_feed
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train

RATE = 1e-3
BATCHES = {8_192: 1 << 21, 65_536: 1 << 22}
QUICK_BATCHES = {256: 1024}


def training(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time an epoch of DCNv2 by each system, after some batches that do not count."""
    for batch, rows in (QUICK_BATCHES if quick else BATCHES).items():
        case = f"training, batches of {batch:,}"
        with tempfile.TemporaryDirectory() as folder:
            write_log(Path(folder) / "warm_up", 4 * batch, seed + 1000)
            write_log(Path(folder) / "log", rows, seed)
            for precision in ("float32", "bfloat16"):
                epoch = _ours(precision, batch, there, seed)
                epoch(f"{folder}/warm_up")
                began = time.perf_counter()
                waited = epoch(f"{folder}/log")
                taken = time.perf_counter() - began
                system = f"{OURS}, {precision}"
                yield _speed(case, system, rows, taken, seed)
                yield Record(case, system, "share of waiting for rows", waited, "", seed)
        arrays = _tensors(rows, seed)
        for precision in ("float32", "bfloat16"):
            step = _plain_loop(precision, batch, there, seed)
            step([part[: 4 * batch] for part in arrays])
            began = time.perf_counter()
            step(arrays)
            yield _speed(case, f"plain loop, {precision}", rows, time.perf_counter() - began, seed)


def _speed(case: str, system: str, rows: int, seconds: float, seed: int) -> Record:
    return Record(case, system, "speed", rows / seconds / 1e6, "million rows/s", seed)


def _ours(precision: str, batch: int, there: torch.device, seed: int) -> Callable[[str], float]:
    """Return a function that trains on a folder and returns the share of waiting for rows."""
    network = our_network(seed)
    settings = TrainingSettings(
        learning_rate=RATE, batch_size=batch, max_epochs=1, device=there.type, precision=precision
    )

    def epoch(folder: str) -> float:
        feed = open_feed(
            folder, N_IDS, N_NUMERIC, batch_size=batch, shuffle=True, seed=seed, kind="pyarrow"
        )
        return float(train(network, feed, None, settings).epochs[0]["data_wait_share"])

    return epoch


def _tensors(rows: int, seed: int) -> list[Tensor]:
    drawn = columns(np.random.default_rng(seed), rows)
    ids = np.stack([drawn[f"c{i}"] for i in range(N_IDS)], 1)
    numeric = np.stack([drawn[f"n{i}"] for i in range(N_NUMERIC)], 1)
    found = [torch.from_numpy(part) for part in (ids, numeric, drawn["label"])]
    return [part.pin_memory() for part in found] if torch.cuda.is_available() else found


def _plain_loop(
    precision: str, batch: int, there: torch.device, seed: int
) -> Callable[[list[Tensor]], None]:
    """Return a loop over tensors of the host in random order, Adam on all parameters."""
    torch.manual_seed(seed)
    model = PlainDCNv2().to(there)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def loop(arrays: list[Tensor]) -> None:
        order = torch.randperm(len(arrays[0]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            ids, numeric, labels = (part[rows].to(there, non_blocking=True) for part in arrays)
            optimizer.zero_grad()
            with torch.autocast(there.type, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(ids, numeric)
            F.binary_cross_entropy_with_logits(logits.float(), labels).backward()
            optimizer.step()
        waiting(there)()

    return loop

"""Shuffled batches from Parquet: rows a second, CPU time, memory, and what training waits for.

The files are written by pyarrow as the stage writes them through Spark: 8 files, row groups of
about 50,000 rows, snappy, dictionaries; 30 int32 ids, 8 float32 numbers, label and weight. ``all
fit`` holds every row in the shuffle buffer, ``streamed`` half of them, or ``--buffer``. Each system
reads 20 epochs (torch's 3) in a process of its own, taking each batch and dropping it. ``later
epochs`` are all but the first; CPU time is that of one later epoch, all threads; ``growth`` is what
the process holds after the last epoch more than after the second. The system's page cache is warm.

Peers: Petastorm's `BatchedDataLoader` over `make_batch_reader`, shuffling queue as large as our
buffer. Its batches are dicts of columns; putting them side by side is not timed, as ours does. And
torch's `DataLoader` over tensors that are in memory already, one index of many rows a batch, which
reads nothing.

``training`` is one epoch of the default network (DCNv2, hidden layers 400 and 400, embeddings of
16 numbers) on streamed rows, with `spark_ctr.training.train`; the share of its time that it waited
for batches. Petastorm's loader is given there as a feed, its columns stacked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.frame import OURS, Record, in_new_process, run
from benchmarks.measure import PeakMemory, cpu_seconds
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.training.feeds import Batch, open_feed
from spark_ctr.training.feeds.petastorm_feed import why_not_petastorm
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train

N_IDS, N_NUMERIC, FILES, ROW_GROUP, TABLE_ROWS = 30, 8, 8, 50_000, 1_000
PEER, OURS_PETASTORM, MEMORY = "BatchedDataLoader", f"{OURS}, petastorm", "DataLoader, in memory"
KINDS = {OURS: "pyarrow", OURS_PETASTORM: "petastorm"}
NEEDS_PETASTORM = (PEER, OURS_PETASTORM)
CASES = ("all fit", "streamed", "training")
SYSTEMS = (OURS, OURS_PETASTORM, PEER, MEMORY)


class PeerFeed:
    """Petastorm's loader with the interface of our feeds."""

    def __init__(self, path: str, batch_size: int, buffer: int) -> None:
        self.rows, self._batch_size = _rows_of(path), batch_size
        self._loader = _petastorm_loader(path, batch_size, buffer, 0)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self._batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield every row once; the benchmark never resumes."""
        for batch in self._loader:
            yield Batch(
                torch.stack([batch[f"c{j}"] for j in range(N_IDS)], 1),
                torch.stack([batch[f"n{j}"] for j in range(N_NUMERIC)], 1),
                batch["label"],
                batch["weight"],
            )


def write_log(folder: Path, rows: int, seed: int) -> None:
    """Write a log of random values, ids with a Zipf law of exponent 1.3."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    edges = np.linspace(0, rows, FILES + 1).astype(int)
    for file, count in enumerate(np.diff(edges)):
        columns = {
            f"c{j}": (random.zipf(1.3, count) % TABLE_ROWS).astype(np.int32) for j in range(N_IDS)
        }
        columns |= {f"n{j}": random.normal(size=count).astype(np.float32) for j in range(N_NUMERIC)}
        columns["label"] = (random.random(count) < 0.2).astype(np.float32)
        columns["weight"] = np.ones(count, np.float32)
        pq.write_table(
            pa.table(columns), folder / f"part-{file:05d}.parquet", row_group_size=ROW_GROUP
        )


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Write the logs, then run every system in a process of its own."""
    missing = why_not_petastorm()
    if missing:
        print(f"without Petastorm: {missing}")
    systems = [s for s in arguments.systems if not (missing and s in NEEDS_PETASTORM)]
    rows = 100_000 if arguments.quick else arguments.rows
    epochs = 3 if arguments.quick else arguments.epochs
    train_rows = 20_000 if arguments.quick else arguments.train_rows
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            reads = arguments.cases != ["training"]
            write_log(Path(folder) / "read", rows if reads else 0, seed)
            write_log(Path(folder) / "train", train_rows, seed)
            for what, buffer in (("all fit", rows), ("streamed", arguments.buffer or rows // 2)):
                if what in arguments.cases:
                    case = f"{rows:,} rows, {what}, buffer of {buffer:,}"
                    for system in systems:
                        of_system = 3 if system == MEMORY else epochs
                        yield from in_new_process(
                            read_epochs, case, system, f"{folder}/read", buffer, of_system, seed
                        )
            if "training" in arguments.cases:
                for system in systems:
                    if system != MEMORY:
                        for batch_size in (1024, 8192):
                            yield from in_new_process(
                                train_epoch,
                                system,
                                f"{folder}/train",
                                batch_size,
                                train_rows // 2,
                                seed,
                            )


def read_epochs(
    case: str, system: str, path: str, buffer: int, epochs: int, seed: int
) -> Iterator[Record]:
    """Read some epochs in batches of 8192 rows."""
    warnings.simplefilter("ignore")
    process = psutil.Process()
    rows = _rows_of(path)
    with PeakMemory() as memory:
        one_epoch = _epochs_of(system, path, buffer, seed)
        for epoch in range(epochs):
            used, began = cpu_seconds(), time.perf_counter()
            read = one_epoch(epoch)
            taken, used = time.perf_counter() - began, cpu_seconds() - used
            if read != rows:
                raise RuntimeError(f"{system} read {read} of {rows} rows")
            metric = "later epochs" if epoch else "first epoch"
            yield Record(case, system, metric, rows / taken / 1e6, "million rows/s", seed)
            if epoch:
                yield Record(case, system, "CPU time of an epoch", used, "s", seed)
            if epoch == 1:
                before = process.memory_info().rss
    yield Record(case, system, "peak memory", memory.mebibytes, "MiB", seed)
    if system != MEMORY:
        grown = (process.memory_info().rss - before) / 2**20
        yield Record(case, system, f"growth, {epochs} epochs", grown, "MiB", seed)


def train_epoch(
    system: str, path: str, batch_size: int, buffer: int, seed: int
) -> Iterator[Record]:
    """Train one epoch and tell what it waited for."""
    warnings.simplefilter("ignore")
    if system == PEER:
        feed: Any = PeerFeed(path, batch_size, buffer)
    else:
        feed = _feed(system, path, batch_size, buffer, seed)
    tables = tuple(Table(f"c{j}", TABLE_ROWS, 16) for j in range(N_IDS))
    inputs = Inputs(tables, tuple(f"n{j}" for j in range(N_NUMERIC)))
    config = {"hidden_layers": [400, 400], "dropout": 0.1, "batch_norm": False, "cross_layers": 2}
    network = build_network("dcnv2", inputs, config, seed)
    settings = TrainingSettings(
        batch_size=batch_size,
        max_epochs=1,
        embedding_l2=0.0,
        average_weights=False,
        recalibrate=False,
        device="cpu",
        seed=seed,
    )
    (epoch,) = train(network, feed, None, settings).epochs
    case = f"training, {feed.rows:,} rows, batch {batch_size:,}"
    share, speed = epoch["data_wait_share"], epoch["rows_per_second"]
    yield Record(case, system, "waiting for data", 100 * share, "%", seed)
    yield Record(case, system, "speed", speed / 1e3, "thousand rows/s", seed)


def _epochs_of(system: str, path: str, buffer: int, seed: int) -> Callable[[int], int]:
    """Return a function that reads one epoch and returns its rows."""
    if system in KINDS:
        feed = _feed(system, path, 8192, buffer, seed)
        return lambda epoch: sum(batch.rows for batch in feed.batches(epoch))
    if system == PEER:
        loader = _petastorm_loader(path, 8192, buffer, seed)
        return lambda _: sum(len(batch["label"]) for batch in loader)
    (whole,) = open_feed(
        path, N_IDS, N_NUMERIC, kind="pyarrow", batch_size=_rows_of(path), shuffle=False, seed=0
    ).batches(0)
    data = torch.utils.data.TensorDataset(whole.ids, whole.numeric, whole.label, whole.weight)
    sampler = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), 8192, False)
    in_memory = torch.utils.data.DataLoader(data, batch_size=None, sampler=sampler)
    return lambda _: sum(len(label) for _, _, label, _ in in_memory)


def _feed(system: str, path: str, batch_size: int, buffer: int, seed: int) -> Any:
    return open_feed(
        path,
        N_IDS,
        N_NUMERIC,
        kind=KINDS[system],
        batch_size=batch_size,
        shuffle=True,
        seed=seed,
        shuffle_buffer_rows=buffer,
    )


def _petastorm_loader(path: str, batch_size: int, buffer: int, seed: int) -> Any:
    from petastorm import make_batch_reader
    from petastorm.pytorch import BatchedDataLoader

    reader = make_batch_reader(
        [f"file://{file}" for file in sorted(Path(path).iterdir())],
        reader_pool_type="thread",
        workers_count=os.cpu_count(),
        num_epochs=1,
        shuffle_row_groups=True,
        seed=seed,
    )
    return BatchedDataLoader(reader, batch_size, shuffling_queue_capacity=buffer)


def _rows_of(path: str) -> int:
    return sum(pq.read_metadata(file).num_rows for file in Path(path).iterdir())


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--train-rows", type=int, default=200_000)
    parser.add_argument("--buffer", type=int, help="of the streamed case; default half the rows")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))


if __name__ == "__main__":
    run(measure, __doc__ or "", options=_options)

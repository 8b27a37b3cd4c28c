"""Rows a second of training from Parquet, beside a plain torch loop, FuxiCTR and DeepCTR-Torch.

The log has Criteo's shape: 13 numeric columns, 26 categorical ones of 4 to 350,000 values (957,000
table rows in all), Zipf ids of exponent 1, random labels; files as the stage writes them. The
network is DCNv2: three cross layers, a perceptron of 400, 400, 400 beside them, embeddings of 16
numbers, no dropout, batches of 8,192. Every system trains one epoch, which is timed with its
reading, after two batches of other rows; each in a new process, all in turn for each seed. The
system's page cache is warm. ``CPU time`` is that of all threads for a thousand rows;
where other programs run, compare that, with ``--threads 1``, since threads that wait count too.

Ours is `spark_ctr.training.train` on a feed whose buffer holds half of the rows, so that all are
read from the files, in both precisions and with the optimiser `adam`.

``plain loop`` is what one writes by hand: an `nn.Embedding` a column, `torch.optim.Adam`, float32,
batches of Petastorm's `BatchedDataLoader` with a shuffling queue of half of the rows; ``fused
table`` is that loop with our one table for all columns and row-wise optimiser, in float32, so it
shows what reading, precision and the rest of our trainer are worth.

FuxiCTR and DeepCTR-Torch run in an environment of their own, whose interpreter ``--peers-python``
names (`pip install fuxictr deepctr-torch`); see `benchmarks/throughput_peers.py`. They have the
same rows as arrays in memory, and making those is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import throughput_peers
from benchmarks.dcnv2 import CROSS_LAYERS, LAYERS, PlainDCNv2, our_network
from benchmarks.frame import OURS, Record, in_new_process, run
from benchmarks.throughput_log import DIM, N_IDS, N_NUMERIC, TABLES, write_log
from spark_ctr.classification import CTRClassifier
from spark_ctr.training.feeds import open_feed
from spark_ctr.training.feeds.petastorm_feed import why_not_petastorm
from spark_ctr.training.loss import weighted_bce
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.trainer import train

BATCH, RATE = 8192, 1e-3
PLAIN, FUSED, OURS_FLOAT32 = "plain loop", "fused table", f"{OURS}, float32"
OURS_PRECISIONS = {OURS: "bfloat16", OURS_FLOAT32: "float32"}
PEERS = tuple(throughput_peers.SYSTEMS)
SYSTEMS = (OURS, OURS_FLOAT32, FUSED, PLAIN, *PEERS)


def epoch_of_ours(precision: str, batch: int, seed: int) -> Callable[[str, int], object]:
    """Return a function that trains an epoch of a folder of that many rows."""
    network = our_network(seed)
    # Its penalty and its average of weights cost time too.
    classifier = CTRClassifier(
        learningRate=RATE, batchSize=batch, maxIter=1, device="cpu", precision=precision
    )
    settings = classifier.training_settings()

    def epoch(folder: str, rows: int) -> object:
        feed = open_feed(
            folder,
            N_IDS,
            N_NUMERIC,
            batch_size=batch,
            shuffle=True,
            seed=seed,
            shuffle_buffer_rows=max(rows // 2, batch),
        )
        return train(network, feed, None, settings)

    return epoch


def epoch_of_loop(fused: bool, batch: int, seed: int) -> Callable[[str, int], object]:
    """Return the same for the plain loop, or for one with our table and optimisers."""
    torch.manual_seed(seed)
    model: nn.Module = our_network(seed) if fused else PlainDCNv2()
    optimizer: Any = (
        Optimizers(model, (), RATE, 0.0, 0.0, None)
        if fused
        else torch.optim.Adam(model.parameters(), lr=RATE)
    )
    model.train()

    def epoch(folder: str, rows: int) -> None:
        for read in _petastorm_loader(folder, batch, max(rows // 2, batch), seed):
            ids = torch.stack([read[f"c{i}"] for i in range(N_IDS)], 1)
            numeric = torch.stack([read[f"n{i}"] for i in range(N_NUMERIC)], 1)
            optimizer.zero_grad()
            logits = model(ids, numeric).reshape(-1)
            weighted_bce(logits, read["label"], read["weight"]).backward()
            optimizer.step()

    return epoch


def in_this_environment(
    system: str, folder: str, rows: int, batch: int, threads: int, seed: int
) -> Iterator[Record]:
    """Train an epoch with a system that is no peer of another environment."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    precision = OURS_PRECISIONS.get(system)
    if precision is not None:
        epoch = epoch_of_ours(precision, batch, seed)
    else:
        epoch = epoch_of_loop(system == FUSED, batch, seed)
    epoch(f"{folder}/warm_up", 2 * batch)
    began, used = time.perf_counter(), throughput_peers.cpu_seconds()
    epoch(f"{folder}/log", rows)
    taken, used = time.perf_counter() - began, throughput_peers.cpu_seconds() - used
    yield from _records(system, rows, taken, used, seed)


def in_peers_environment(
    python: str, system: str, folder: str, rows: int, batch: int, threads: int, seed: int
) -> Iterator[Record]:
    """Train an epoch with FuxiCTR or DeepCTR-Torch."""
    settings = {
        "tables": TABLES,
        "dim": DIM,
        "layers": LAYERS,
        "cross_layers": CROSS_LAYERS,
        "batch": batch,
        "threads": threads,
        "seed": seed,
    }
    program = throughput_peers.__file__
    command = [python, program, system, f"{folder}/warm_up", f"{folder}/log", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        print(f"without {system}: {' '.join(reason)}")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield from _records(system, rows, found["seconds"], found["cpu"], seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Write the log, then run every system in turn."""
    missing = {}
    if why_not_petastorm():
        missing |= dict.fromkeys((PLAIN, FUSED), f"no Petastorm, as {why_not_petastorm()}")
    if arguments.peers_python is None:
        missing |= dict.fromkeys(PEERS, "--peers-python names no environment that has it")
    systems = [system for system in arguments.systems if system not in missing]
    for system in sorted(set(arguments.systems) & set(missing)):
        print(f"without {system}: {missing[system]}")
    batch = 512 if arguments.quick else BATCH
    rows = 4 * batch if arguments.quick else arguments.rows
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            write_log(Path(folder) / "warm_up", 2 * batch, seed + 1000)
            write_log(Path(folder) / "log", rows, seed)
            for system in np.random.default_rng(seed).permutation(systems).tolist():
                settings = (system, folder, rows, batch, arguments.threads, seed)
                if system in PEERS:
                    yield from in_peers_environment(arguments.peers_python, *settings)
                else:
                    yield from in_new_process(in_this_environment, *settings)


def _records(system: str, rows: int, seconds: float, cpu: float, seed: int) -> Iterator[Record]:
    case = f"{rows:,} rows"
    yield Record(case, system, "speed", rows / seconds / 1e3, "thousand rows/s", seed)
    yield Record(case, system, "CPU time", 1e6 * cpu / rows, "ms/thousand rows", seed)


def _petastorm_loader(folder: str, batch_size: int, buffer: int, seed: int) -> Any:
    from petastorm import make_batch_reader
    from petastorm.pytorch import BatchedDataLoader

    reader = make_batch_reader(
        [f"file://{file}" for file in sorted(Path(folder).iterdir())],
        reader_pool_type="thread",
        workers_count=2,
        num_epochs=1,
        shuffle_row_groups=True,
        seed=seed,
    )
    return BatchedDataLoader(reader, batch_size, shuffling_queue_capacity=buffer)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--peers-python", metavar="FILE", help="interpreter of the peers' packages")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=PLAIN, seeds=range(3), options=_options)

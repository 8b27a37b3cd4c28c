"""A step of embedding tables in two processes: spread ones, whole ones, and torchrec's.

26 tables of 957,000 rows of dimension 16 in all, ids by Zipf's law of exponent 1, batches of 8,192
in all, gradients given, row-wise Adagrad; gloo on one machine, a thread each. A step looks up, goes
back and updates: ``spread`` as `training.sharded_tables`, ``whole`` by exchanging the gradients of
rows. ``torchrec, ...`` runs in an environment of its own, whose interpreter ``--peers-python``
names (torchrec and fbgemm-gpu-cpu of one version, that of the torch beside them: 1.8.0 for 2.13).
CPU time is that of all threads of a process, the mean of both; compare that where other programs
use the cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks import sharded_peer
from benchmarks.frame import Record, run
from benchmarks.throughput_log import DIM, TABLES
from spark_ctr.networks import Inputs, Table
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.training.gradient_exchange import GradientExchange
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.sharded_tables import ShardedTables

SPREAD, WHOLE = "spread", "whole"
PEERS = {"torchrec, row-wise": "row-wise", "torchrec, table-wise": "table-wise"}
SYSTEMS = (SPREAD, WHOLE, *PEERS)
BATCH, STEPS = 8192, 20


def train_rank(rank: int, folder: str, system: str, settings: dict[str, Any]) -> None:
    """Time our steps as one of two processes."""
    torch.set_num_threads(1)
    size = sharded_peer.RANKS
    address = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    ranks = Ranks(rank, size)
    tables = tuple(Table(f"c{i}", n, settings["dim"]) for i, n in enumerate(settings["tables"]))
    embedding = EmbeddingTables(Inputs(tables, ()))
    model = nn.ModuleDict({"embedding": embedding})
    if system == SPREAD:
        ShardedTables(model, ranks)
    optimizers = Optimizers(model, (), 0.001, 0.0, 0.0, None, "adagrad", ranks=ranks)
    exchange = GradientExchange([model], ranks)

    def step(ids: np.ndarray, grad: Tensor) -> None:
        optimizers.zero_grad()
        embedding(torch.from_numpy(ids.T.astype(np.int32))).backward(grad)
        exchange.finish()
        optimizers.step()

    found = sharded_peer.timed(step, rank, settings["batch"] // size, settings)
    Path(folder, str(rank)).write_text(json.dumps(found))
    dist.barrier()
    exchange.close()
    dist.destroy_process_group()


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run every system in turn."""
    tables = [max(rows // 100, 2) for rows in TABLES] if arguments.quick else list(TABLES)
    systems = [s for s in arguments.systems if s not in PEERS or arguments.peers_python]
    for seed in arguments.seeds:
        settings = {"tables": tables, "dim": DIM, "batch": BATCH, "steps": STEPS, "seed": seed}
        for system in np.random.default_rng(seed).permutation(systems).tolist():
            if system in PEERS:
                program = [arguments.peers_python, sharded_peer.__file__, PEERS[system]]
                command = [*program, json.dumps(settings)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
            else:
                found = sharded_peer.run(train_rank, system, settings)
            cpu, taken = np.mean(found, 0)
            case = f"{sum(tables):,} rows"
            yield Record(case, system, "CPU time a step", 1e3 * cpu, "ms", seed)
            yield Record(case, system, "time a step", 1e3 * taken, "ms", seed)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--peers-python", metavar="FILE", help="interpreter that has torchrec")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=WHOLE, seeds=range(3), options=_options)

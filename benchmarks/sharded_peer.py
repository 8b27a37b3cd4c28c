"""torchrec's sharded tables in a step like that of `benchmarks.sharded_tables`.

A program of its own, which runs in an environment that has torchrec and fbgemm-gpu-cpu and prints
a JSON list, CPU and wall-clock seconds a step of each of two processes:

    python benchmarks/sharded_peer.py SHARDING SETTINGS

SHARDING is ``row-wise`` or ``table-wise``; SETTINGS is a JSON object of ``tables`` (rows of each),
``dim``, ``batch``, ``steps`` and ``seed``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

RANKS, WARM_UP = 2, 4


def draw_ids(tables: list[int], batch: int, steps: int, seed: int) -> list[np.ndarray]:
    """Draw ids, int64 [columns, batch], of some steps by Zipf's law of exponent 1."""
    random = np.random.default_rng(seed)
    return [
        np.stack(
            [
                np.exp(random.random(batch) * np.log(n + 1)).astype(np.int64).clip(1, n) - 1
                for n in tables
            ]
        )
        for _ in range(steps)
    ]


def step_of(rank: int, sharding: str, settings: dict[str, Any]) -> Any:
    """Return a function that trains tables on ids [columns, batch] and gradients."""
    import torchrec
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.sharding_plan import (
        construct_module_sharding_plan,
        row_wise,
        table_wise,
    )
    from torchrec.distributed.types import ShardingEnv, ShardingPlan
    from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

    names = [f"c{i}" for i in range(len(settings["tables"]))]
    bags = EmbeddingBagCollection(
        [
            EmbeddingBagConfig(
                name=f"t{i}",
                embedding_dim=settings["dim"],
                num_embeddings=rows,
                feature_names=[names[i]],
            )
            for i, rows in enumerate(settings["tables"])
        ],
        device=torch.device("cpu"),
    )
    apply_optimizer_in_backward(torchrec.optim.RowWiseAdagrad, bags.parameters(), {"lr": 0.01})
    sharder = EmbeddingBagCollectionSharder()
    how = {
        f"t{i}": row_wise(compute_kernel="fused")
        if sharding == "row-wise"
        else table_wise(rank=i % RANKS, compute_kernel="fused")
        for i in range(len(names))
    }
    plan = construct_module_sharding_plan(
        bags, how, sharder=sharder, local_size=RANKS, world_size=RANKS, device_type="cpu"
    )
    model = DistributedModelParallel(
        bags,
        env=ShardingEnv.from_process_group(dist.group.WORLD),
        device=torch.device("cpu"),
        plan=ShardingPlan({"": plan}),
        sharders=[sharder],
    )

    def step(ids: np.ndarray, grad: torch.Tensor) -> None:
        lengths = torch.ones(ids.size, dtype=torch.int32)
        values = torch.from_numpy(ids.reshape(-1))
        rows = KeyedJaggedTensor.from_lengths_sync(keys=names, values=values, lengths=lengths)
        model(rows).values().backward(grad)

    return step


def train_rank(rank: int, folder: str, sharding: str, settings: dict[str, Any]) -> None:
    """Time steps as one of two processes."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS}
    os.environ |= {name: str(value) for name, value in ranks.items()}
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS
    )
    batch = settings["batch"] // RANKS
    step = step_of(rank, sharding, settings)
    Path(folder, str(rank)).write_text(json.dumps(timed(step, rank, batch, settings)))
    dist.barrier()
    dist.destroy_process_group()


def timed(step: Any, rank: int, batch: int, settings: dict[str, Any]) -> list[float]:
    """Return CPU and wall-clock seconds a step of this process, of all its threads."""
    tables, steps = settings["tables"], settings["steps"]
    all_ids = draw_ids(tables, batch, WARM_UP + steps, settings["seed"] * RANKS + rank)
    grad = torch.randn(batch, len(tables) * settings["dim"])
    for ids in all_ids[:WARM_UP]:
        step(ids, grad)
    dist.barrier()
    began = time.process_time(), time.perf_counter()
    for ids in all_ids[WARM_UP:]:
        step(ids, grad)
    taken = time.process_time() - began[0], time.perf_counter() - began[1]
    return [seconds / steps for seconds in taken]


def run(target: Any, sharding: str, settings: dict[str, Any]) -> list[list[float]]:
    """Run both processes; return what `timed` returned to each."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(target, (folder, sharding, settings), nprocs=RANKS, start_method="spawn")
        return [json.loads(Path(folder, str(rank)).read_text()) for rank in range(RANKS)]


if __name__ == "__main__":
    print(json.dumps(run(train_rank, sys.argv[1], json.loads(sys.argv[2]))))

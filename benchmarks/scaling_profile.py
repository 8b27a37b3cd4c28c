"""Where a step of training spends its time: parts of it, timed from outside the training code.

Functions of `spark_ctr.training` and of torch are wrapped while a profile runs, so that the code
that is measured is the code that trains. A part's time leaves out the parts within it.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.dcnv2 import CROSS_LAYERS, LAYERS
from benchmarks.frame import Record
from benchmarks.throughput_log import DIM, N_NUMERIC, TABLES, write_log
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.layers import batch_norm
from spark_ctr.networks.network import Network
from spark_ctr.training import averaging, batch_statistics, optimizers, sharded_tables, trainer
from spark_ctr.training.adamw import AdamW
from spark_ctr.training.feeds import open_feed
from spark_ctr.training.gradient_exchange import GradientExchange
from spark_ctr.training.loss import click_loss
from spark_ctr.training.progress import Progress
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.rowwise import RowwiseOptimizer
from spark_ctr.training.settings import TrainingSettings

# Rows of the tables, numeric columns, hidden layers and cross layers.
CASES = {
    "DCNv2": (TABLES, N_NUMERIC, LAYERS, CROSS_LAYERS),
    "small": (TABLES[::3], 4, [128, 64], 2),
    "40 million rows": ((10_000_000,) * 4, 4, [128, 64], 2),
}
# Processes and threads of torch of each.
SYSTEMS = {
    "1 process, 1 thread": (1, 1),
    "1 process, 2 threads": (1, 2),
    "2 workers": (2, 1),
    "4 workers": (4, 1),
    "8 workers": (8, 1),
}
OTHER = "other"
# What is wrapped, and the part that it is.
WRAPPED: list[tuple[Any, str, str]] = [
    (torch.Tensor, "backward", "backward"),
    (batch_norm.BatchNorm, "_over_processes", "batch statistics"),
    (batch_norm._Normalised, "backward", "batch statistics"),
    (Ranks, "start_total", "weight of the batch"),
    (sharded_tables.ShardedEmbedding, "forward", "rows, look-up"),
    (sharded_tables._LookUp, "backward", "rows, gradients"),
    (GradientExchange, "_sum_rows", "rows, gradients"),
    (GradientExchange, "_came", "dense exchange"),
    (GradientExchange, "finish", "dense exchange"),
    (optimizers, "coalesce_rows", "optimiser, rows"),
    (RowwiseOptimizer, "step", "optimiser, rows"),
    (AdamW, "step", "optimiser, dense"),
    (averaging.WeightAverage, "moved", "average, rows"),
    (averaging.WeightAverage, "end_step", "average, dense"),
    (batch_statistics.BatchStatistics, "_estimate", "statistics of the average"),
    (trainer._Run, "_end_epoch", "validation"),
]
COLLECTIVES = ("all_reduce", "all_gather", "all_gather_into_tensor", "all_to_all_single")


@dataclass
class Cost:
    """Of a part in a process: wall-clock and CPU seconds of its thread, messages and bytes."""

    seconds: float = 0.0
    cpu: float = 0.0
    messages: int = 0
    bytes: int = 0


class Profile:
    """Costs of parts, each without the parts within it."""

    def __init__(self) -> None:
        self._stack = [OTHER]
        self.clear()

    def clear(self) -> None:
        """Begin afresh."""
        self.costs: dict[str, Cost] = {}
        self._marks = time.perf_counter(), time.thread_time()
        self._process = time.process_time()

    @property
    def other_threads(self) -> float:
        """CPU seconds of all threads but this one."""
        self._charge()
        own = sum(cost.cpu for cost in self.costs.values())
        return time.process_time() - self._process - own

    def of(self, part: str) -> Cost:
        """Return the cost of a part, to add to."""
        return self.costs.setdefault(part, Cost())

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Charge what is done inside the context to a part."""
        self._charge()
        self._stack.append(part)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def wrap(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return a function that charges its time to a part."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            with self.inside(part):
                return function(*arguments, **named)

        return wrapped

    def count(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a collective that counts a message and what this process puts into it."""

        def counted(*arguments: Any, **named: Any) -> Any:
            # all_reduce takes what it sends first, the others second.
            sent = arguments[0] if function.__name__ == "all_reduce" else arguments[1]
            cost = self.of(self._stack[-1])
            cost.messages += 1
            cost.bytes += sent.numel() * sent.element_size()
            return function(*arguments, **named)

        return counted

    def _charge(self) -> None:
        now = time.perf_counter(), time.thread_time()
        cost = self.of(self._stack[-1])
        cost.seconds += now[0] - self._marks[0]
        cost.cpu += now[1] - self._marks[1]
        self._marks = now


class _Cleared(Progress):
    """Clears a profile after the first epoch, which warms up, and reads memory after the last."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self._profile, self._first = profile, True
        self.resident = 0

    def end_epoch(self, record: dict[str, Any]) -> None:
        if self._first:
            self._profile.clear()
        self._first = False
        self.resident = psutil.Process().memory_info().rss


def network_of(case: str, seed: int) -> Network:
    """Build the DCNv2 of a case with the classifier's defaults."""
    sizes, numeric, layers, crosses = CASES[case]
    tables = tuple(Table(f"c{i}", rows, DIM) for i, rows in enumerate(sizes))
    inputs = Inputs(tables, tuple(f"n{i}" for i in range(numeric)))
    config = {"hidden_layers": layers, "cross_layers": crosses}
    return build_network("dcnv2", inputs, config, seed)


def settings_of(batch: int, epochs: int) -> TrainingSettings:
    """Return the classifier's defaults, on the CPU."""
    return CTRClassifier(batchSize=batch, maxIter=epochs, device="cpu").training_settings()


def write_case(folder: str, case: str, rows: int, seed: int) -> None:
    """Write training and validation rows of a case."""
    sizes, numeric, _, _ = CASES[case]
    write_log(Path(folder) / "train", rows, seed, sizes, numeric)
    write_log(Path(folder) / "valid", rows // 50, seed + 1000, sizes, numeric)


def profile_rank(
    rank: int, size: int, threads: int, case: str, folder: str, rows: int, batch: int, seed: int
) -> None:
    """Train two epochs as a rank, and leave the profile of the second as JSON."""
    torch.set_num_threads(threads)
    if size > 1:
        address = f"file://{folder}/store-{seed}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    sizes, numeric, _, _ = CASES[case]
    arguments = {"n_ids": len(sizes), "n_numeric": numeric, "kind": "pyarrow", "seed": seed}
    arguments |= {"shuffle_buffer_rows": rows, "rank": rank, "ranks": size}
    feed, valid = (
        open_feed(f"{folder}/{name}", batch_size=each, shuffle=name == "train", **arguments)
        for name, each in (("train", batch // size), ("valid", batch))
    )
    settings = settings_of(batch, 2)
    profile = Profile()
    progress = _Cleared(profile)
    with ExitStack() as stack:
        for owner, name, part in WRAPPED:
            stack.enter_context(wrapped_attribute(profile, owner, name, part))
        for name in COLLECTIVES:
            counted = profile.count(getattr(dist, name))
            stack.enter_context(mock.patch.object(dist, name, counted))
        stack.enter_context(mock.patch.object(feed, "batches", _timed(profile, feed.batches)))
        history = trainer.train(
            network_of(case, seed),
            feed,
            valid,
            settings,
            loss=profile.wrap(click_loss, "forward"),
            progress=progress,
            ranks=Ranks(rank, size),
        )
    found = {
        "other threads": profile.other_threads,
        "costs": {part: vars(cost) for part, cost in profile.costs.items()},
        "rows_per_second": history.epochs[-1]["rows_per_second"],
        "steps": feed.steps,
        "resident": progress.resident,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    Path(folder, f"profile-{rank}.json").write_text(json.dumps(found))
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()


def wrapped_attribute(profile: Profile, owner: Any, name: str, part: str) -> Any:
    """Return a context in which an attribute charges its time to a part."""
    found = vars(owner)[name]
    static = isinstance(found, staticmethod)
    wrapped = profile.wrap(found.__func__ if static else found, part)
    return mock.patch.object(owner, name, staticmethod(wrapped) if static else wrapped)


def _timed(profile: Profile, batches: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Iterator[Any]:
        inner = batches(*arguments)
        while True:
            with profile.inside("waiting for data"):
                batch = next(inner, None)
            if batch is None:
                return
            yield batch

    return timed


def profile_system(
    system: str, case: str, folder: str, rows: int, batch: int, seed: int
) -> Iterator[Record]:
    """Yield the profile of every process of a system."""
    size, threads = SYSTEMS[system]
    settings = (size, threads, case, folder, rows, batch, seed)
    mp.start_processes(profile_rank, settings, nprocs=size, start_method="spawn")
    for rank in range(size):
        found = json.loads(Path(folder, f"profile-{rank}.json").read_text())
        yield from _records(f"{system}, {rank}" if size > 1 else system, case, found, seed)
    Path(folder, f"store-{seed}").unlink(missing_ok=True)


def _records(system: str, case: str, found: dict[str, Any], seed: int) -> Iterator[Record]:
    costs, steps = found["costs"], found["steps"]
    for part, cost in costs.items():
        name = f"{case}, {part}"
        each = {key: value / steps for key, value in cost.items()}
        yield Record(name, system, "CPU time a step", 1e3 * each["cpu"], "ms", seed)
        yield Record(name, system, "time a step", 1e3 * each["seconds"], "ms", seed)
        if cost["messages"]:
            yield Record(name, system, "messages a step", each["messages"], "", seed)
            yield Record(name, system, "sent a step", each["bytes"] / 1024, "KiB", seed)
    name = f"{case}, in all"
    other = found["other threads"]
    cpu = sum(cost["cpu"] for cost in costs.values()) + other
    taken = sum(cost["seconds"] for cost in costs.values())
    yield Record(
        f"{case}, other threads", system, "CPU time a step", 1e3 * other / steps, "ms", seed
    )
    yield Record(name, system, "CPU time a step", 1e3 * cpu / steps, "ms", seed)
    yield Record(name, system, "time a step", 1e3 * taken / steps, "ms", seed)
    speed = found["rows_per_second"] / 1e3
    yield Record(name, system, "training", speed, "thousand rows/s", seed)
    for metric in ("resident", "peak"):
        yield Record(name, system, f"{metric} memory", found[metric] / 2**20, "MiB", seed)


def profiles(
    cases: list[str], systems: list[str], steps: int, batch: int, seed: int
) -> Iterator[Record]:
    """Yield the profiles of all systems, in turn."""
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            rows = steps * batch
            write_case(folder, case, rows, seed)
            for system in systems:
                yield from profile_system(system, case, folder, rows, batch, seed)

"""Training steps of the classifier's default network in bfloat16, and compiled by torch.compile.

The tables' look-ups are left out of the compilation: inductor of torch 2.13 cannot compile a row-
sparse gradient ("Cannot access storage of SparseTensorImpl"). A step is forward, loss, backward
and optimisers of a DCNv2 (``[400, 400]``, three cross layers, batch normalisation) on 26 columns
of dimension 16 and 100,000 rows in all, on batches of random ids; the peer is float32 without
compilation. ``CPU time, a step`` is the median of 9 steps after 2 that are not timed; ``time,
first step`` is wall-clock time and holds the compilation. Every system runs in a new process, with
an empty cache of compiled code; run it with OMP_NUM_THREADS=1 where other programs run. ``memory
given back`` is without `spark_ctr.training.allocation.memory_kept`.

``quality ...`` trains the default DCNv2 in batches of 1,024, with an L2 penalty of 0.001 and
without an average of weights, on the generated click log (200,000 training rows) and on Adult, in
both precisions from the same weights on the same batches; a tenth of the training rows chooses the
epoch. AUC and log loss are those of the test rows, scored in float32; ``auc, lost`` is float32's
less bfloat16's, seed by seed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch

from benchmarks.array_feed import ArrayFeed
from benchmarks.embedding_logs import SampleLog, logs_of
from benchmarks.frame import Record, in_new_process, run
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.network import Network
from spark_ctr.training.allocation import memory_kept
from spark_ctr.training.feeds import Batch
from spark_ctr.training.loss import click_loss
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.precision_context import autocast
from spark_ctr.training.predictions import predict
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train

COLUMNS, DIM, ROWS = 26, 16, 100_000
WARMUP, STEPS = 2, 9
CONFIG = {"hidden_layers": [400, 400], "cross_layers": 3, "batch_norm": True, "dropout": 0.2}
SMALLER = {"hidden_layers": [256, 128, 64], "cross_layers": 2, "batch_norm": False, "dropout": 0.1}
PEER = "float32"
COMPILED, GIVEN_BACK = "compiled", "memory given back"
SYSTEMS = tuple(
    f"{precision}, {variant}" if variant else precision
    for variant in ("", GIVEN_BACK, COMPILED)
    for precision in (PEER, "bfloat16")
)


def steps(system: str, batch: int, timed: int, seed: int) -> Iterator[Record]:
    """Time steps of a system, ``PRECISION[, VARIANT]``."""
    precision, _, variant = system.partition(", ")
    random = np.random.default_rng(seed)
    each = ROWS // COLUMNS
    inputs = Inputs(tuple(Table(f"c{c}", each, DIM) for c in range(COLUMNS)), ())
    network = build_network("dcnv2", inputs, CONFIG, seed=seed).train()
    optimizers = Optimizers(network, (), 1e-3, 0.0, 1e-3, None)
    called = network
    if variant == COMPILED:
        tables: Any = network.embedding
        tables.forward = torch.compiler.disable(tables.forward)
        called = cast(Network, torch.compile(network))
    cpu, wall = [], []
    kept = nullcontext() if variant == GIVEN_BACK else memory_kept()
    with kept, tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for _ in range(WARMUP + timed):
            rows = Batch(
                torch.from_numpy(random.integers(0, each, (batch, COLUMNS), np.int32)),
                torch.zeros(batch, 0),
                torch.from_numpy((random.random(batch) < 0.1).astype(np.float32)),
                torch.ones(batch),
            )
            began, began_cpu = time.perf_counter(), time.process_time()
            optimizers.zero_grad()
            with autocast(torch.device("cpu"), precision):
                loss = click_loss(called, rows)
            loss.backward()
            optimizers.step()
            cpu.append(time.process_time() - began_cpu)
            wall.append(time.perf_counter() - began)
    case = f"batch {batch:,}"
    step = 1e3 * statistics.median(cpu[WARMUP:])
    yield Record(case, system, "CPU time, a step", step, "ms", seed)
    yield Record(case, system, "time, first step", wall[0], "s", seed)


def quality(log: SampleLog, case: str, epochs: int, seed: int) -> Iterator[Record]:
    """Train in both precisions and score the test rows."""
    order = np.random.default_rng(seed).permutation(log.train_rows)
    held = log.train_rows // 10
    parts = (order[held:], order[:held], np.arange(log.train_rows, len(log.label)))
    training, valid, test = (
        ArrayFeed(
            log.ids.numpy()[part],
            log.label.numpy()[part],
            1024 if at == 0 else 8192,
            seed,
            log.numeric.numpy()[part],
        )
        for at, part in enumerate(parts)
    )
    aucs = []
    for precision in (PEER, "bfloat16"):
        network = build_network("dcnv2", log.inputs, SMALLER, seed=seed)
        settings = TrainingSettings(
            batch_size=1024,
            max_epochs=epochs,
            embedding_l2=1e-3,
            average_weights=False,
            recalibrate=False,
            seed=seed,
            device="cpu",
            precision=precision,
        )
        train(network, training, valid, settings)
        scored = predict(network, test).of_task()
        aucs.append(roc_auc(*scored))
        name = f"quality, {case}"
        yield Record(name, precision, "auc", aucs[-1], "", seed)
        yield Record(name, precision, "log_loss", log_loss_of_logits(*scored), "", seed)
    yield Record(name, "bfloat16", "auc, lost", 1e4 * (aucs[0] - aucs[1]), "1e-4", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the records of all cases."""
    if "steps" in arguments.cases:
        for batch in (64,) if arguments.quick else (1024, 8192):
            for system in arguments.systems:
                yield from in_new_process(steps, system, batch, 3 if arguments.quick else STEPS, 0)
    logs = logs_of(arguments.cases, arguments.master, arguments.quick, DIM)
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        for case, log in logs.items():
            yield from quality(log, case, 1 if arguments.quick else 20, seed)


def _options(parser: argparse.ArgumentParser) -> None:
    cases = ("steps", "click_log", "adult")
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=PEER, seeds=range(5), options=_options)

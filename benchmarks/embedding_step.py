"""Training steps of embedding tables of many rows, beside torch's optimisers, and what they learn.

``rows ..., batch ...`` is a step of a DCNv2 of the classifier's default size on 26 columns of
dimension 16: look-up, forward, backward, and the optimisers' ``zero_grad`` and ``step``. Ids follow
a Zipf law of exponent 1 in every column, and each step has a batch of its own; making batches is
not timed. Times are CPU time of the process, since that is the same beside other programs; run it
with OMP_NUM_THREADS=1. ``a step`` is the median of 9 steps after 2 that are not timed, ``of it,
optimisers`` the optimisers' share. ``peak memory`` is what the process grew by from before it made
the tables, including their making. Every system runs in a new process.

``quality ...`` is AUC and log loss on test rows after one and two epochs of batches of 1,024 over
the same rows in the same order from the same initial weights: the synthetic click log of
`spark_ctr.datasets` (200,000 training rows) and Adult (official split), with an L2 penalty of
0.001, the peers' of the looked-up rows, and hidden layers of 128 and 64. Values seen once
share a row with unseen ones. Learning rates are 0.001; Adagrad's are 0.01.

The peers differ in the optimiser of the tables only; all train the rest with AdamW. ``dense Adam``
is torch.optim.Adam (fused) on dense gradients, ``SparseAdam`` torch's on sparse ones. Adagrad is
torch.optim.Adagrad on sparse gradients: of one table for the quality, and of a table a column as
torch's DLRM has it (``EmbeddingBag, Adagrad``) for the steps.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from benchmarks.embedding_logs import SampleLog, logs_of
from benchmarks.frame import OURS, Record, in_new_process, run
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.layers.embedding import EmbeddingTables, embedding_modules
from spark_ctr.training.averaging import WeightAverage
from spark_ctr.training.loss import weighted_bce
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.optimizers import Optimizers

COLUMNS, DIM = 26, 16
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
BATCHES = (1024, 8192)
WARMUP, STEPS = 2, 9
RATE, ADAGRAD_RATE, L2, EPOCHS = 1e-3, 1e-2, 1e-3, 2
CONFIG = {"cross_layers": 3, "batch_norm": True, "dropout": 0.2}
DENSE, SPARSE, ADAGRAD = "dense Adam", "SparseAdam", "sparse Adagrad"
BAGS, OURS_ADAGRAD = "EmbeddingBag, Adagrad", "spark_ctr, adagrad"


class BagTables(nn.Module):
    """One EmbeddingBag a column."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(t.rows, t.dim, mode="sum", sparse=True) for t in inputs.tables
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids [B, C]; float32 [B, C * dim]."""
        columns = ids.long().unsqueeze(2).unbind(1)
        return torch.cat([table(c) for table, c in zip(self.tables, columns, strict=True)], 1)


class Model(nn.Module):
    """Tables, and a network that reads what they hold as numeric columns."""

    def __init__(self, system: str, inputs: Inputs, layers: list[int], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tables = BagTables(inputs) if system == BAGS else EmbeddingTables(inputs)
        names = [f"n{i}" for i in range(inputs.width)]
        config = {**CONFIG, "hidden_layers": layers}
        self.rest = build_network("dcnv2", Inputs((), tuple(names)), config, seed=seed)
        self.weights = [table.weight for table in embedding_modules(self.tables)]
        if system in (DENSE, SPARSE, ADAGRAD):
            for module in cast(EmbeddingTables, self.tables).weights:
                cast(nn.Embedding, module).sparse = system != DENSE

    def forward(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Return logits [B]."""
        return self.rest(ids[:, :0], torch.cat([self.tables(ids), numeric], 1))[:, 0]


class TorchOptimizers:
    """AdamW for the network, one of torch's optimisers for the tables, and the L2 penalty."""

    def __init__(self, model: Model, system: str, l2: float) -> None:
        self._weights, self._l2 = model.weights, l2
        rest = torch.optim.AdamW(model.rest.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        tables: Callable[[list[Tensor]], torch.optim.Optimizer] = {
            DENSE: lambda weights: torch.optim.Adam(weights, lr=RATE, fused=True),
            SPARSE: lambda weights: torch.optim.SparseAdam(weights, lr=RATE),
        }.get(system, lambda weights: torch.optim.Adagrad(weights, lr=ADAGRAD_RATE))
        self._both = (rest, tables(model.weights))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimizer in self._both:
            optimizer.zero_grad()

    def step(self) -> None:
        """Update all parameters."""
        for weight in self._weights if self._l2 else ():
            grad = cast(Tensor, weight.grad)
            if grad.is_sparse:
                grad = weight.grad = grad.coalesce()
                rows = weight.detach()[grad.indices()[0]]
                grad.values().add_(rows, alpha=self._l2)
            else:
                grad.add_(weight.detach() * grad.ne(0).any(1, keepdim=True), alpha=self._l2)
        for optimizer in self._both:
            optimizer.step()


class AveragingOptimizers(Optimizers):
    """Ours, with the average of weights that `CTRClassifier` takes by default."""

    def __init__(self, model: Model, l2: float, name: str) -> None:
        self._average = WeightAverage(model, 100_000)
        super().__init__(model, (), RATE, 0.0, l2, None, name, self._average.moved)

    def step(self) -> None:
        """Update all parameters and their average."""
        super().step()
        self._average.end_step()


def _optimizers(system: str, model: Model, l2: float) -> Optimizers | TorchOptimizers:
    if system in (OURS, OURS_ADAGRAD):
        name = "adagrad" if system == OURS_ADAGRAD else "adam"
        return AveragingOptimizers(model, l2, name)
    return TorchOptimizers(model, system, l2)


def draw_ids(
    random: np.random.Generator, batch: int, rows: int, different: int | None = None
) -> np.ndarray:
    """Draw a batch by Zipf's law over a table's rows, or over `different` ones of them."""
    among = different or rows
    uniform = random.random((batch, COLUMNS))
    ranks = np.exp(uniform * np.log(among)).astype(np.int32).clip(1, among) - 1
    if different is None:
        return ranks
    chosen = np.stack([random.permutation(rows)[:among] for _ in range(COLUMNS)], 1)
    return np.take_along_axis(chosen, ranks, 0).astype(np.int32)


def steps(
    system: str, rows: int, batch: int, timed: int, seed: int, different: int | None = None
) -> Iterator[Record]:
    """Time steps on tables of `rows` rows in all, see `draw_ids`."""
    random = np.random.default_rng(seed)
    each = rows // COLUMNS
    inputs = Inputs(tuple(Table(f"c{c}", each, DIM) for c in range(COLUMNS)), ())
    drawn = [draw_ids(random, batch, each, different) for _ in range(WARMUP + timed)]
    ids = torch.from_numpy(np.stack(drawn))
    labels = torch.from_numpy((random.random((WARMUP + timed, batch)) < 0.1).astype(np.float32))
    ones, numeric = torch.ones(batch), torch.zeros(batch, 0)
    before = psutil.Process().memory_info().rss
    began = time.process_time()
    model = Model(system, inputs, [400, 400], seed)
    making = time.process_time() - began
    optimizers = _optimizers(system, model, 0.0)
    whole, of_it = [], []
    for batch_ids, label in zip(ids, labels, strict=True):
        began = time.process_time()
        optimizers.zero_grad()
        zeroed = time.process_time()
        weighted_bce(model(batch_ids, numeric), label, ones).backward()
        computed = time.process_time()
        optimizers.step()
        ended = time.process_time()
        whole.append(ended - began)
        of_it.append(ended - computed + zeroed - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    case = f"rows {rows:,}, batch {batch:,}"
    for metric, value, unit in (
        ("CPU time, a step", 1e3 * statistics.median(whole[WARMUP:]), "ms"),
        ("CPU time, of it optimisers", 1e3 * statistics.median(of_it[WARMUP:]), "ms"),
        ("CPU time, first step", 1e3 * whole[0], "ms"),
        ("CPU time, making the model", making, "s"),
        ("peak memory", (peak - before) / 2**20, "MiB"),
    ):
        yield Record(case, system, metric, value, unit, seed)


def quality(log: SampleLog, case: str, epochs: int, seed: int) -> Iterator[Record]:
    """Train with every optimiser on a log and score its test rows after each epoch."""
    for system in (OURS, OURS_ADAGRAD, SPARSE, DENSE, ADAGRAD):
        model = Model(system, log.inputs, [128, 64], seed)
        optimizers = _optimizers(system, model, L2)
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            model.train()
            for at in torch.randperm(log.train_rows).split(BATCHES[0]):
                optimizers.zero_grad()
                logit = model(log.ids[at], log.numeric[at])
                weighted_bce(logit, log.label[at], torch.ones(len(at))).backward()
                optimizers.step()
            model.eval()
            test = range(log.train_rows, len(log.label), 8192)
            with torch.no_grad():
                logits = [model(log.ids[i : i + 8192], log.numeric[i : i + 8192]) for i in test]
            logit = torch.cat(logits).double().numpy()
            label = log.label[log.train_rows :].double().numpy()
            ones = np.ones(len(label))
            name = f"quality, {case}, epoch {epoch}"
            yield Record(name, system, "auc", roc_auc(label, logit, ones), "", seed)
            loss = log_loss_of_logits(label, logit, ones)
            yield Record(name, system, "log_loss", loss, "", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the records of all cases."""
    if "steps" in arguments.cases:
        for rows in ROWS[:1] if arguments.quick else arguments.rows:
            for batch in BATCHES[:1] if arguments.quick else BATCHES:
                for system in (OURS, DENSE, SPARSE, BAGS):
                    timed = 3 if arguments.quick else STEPS
                    yield from in_new_process(steps, system, rows, batch, timed, 0)
    logs = logs_of(arguments.cases, arguments.master, arguments.quick, DIM)
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        for case, log in logs.items():
            yield from quality(log, case, 1 if arguments.quick else EPOCHS, seed)


def _options(parser: argparse.ArgumentParser) -> None:
    cases = ("steps", "click_log", "adult")
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, metavar="ROWS")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=SPARSE, seeds=range(5), options=_options)

"""What distillation is worth: students of one size, from labels and from teachers.

Logs are Frappe (half of the official valid rows chooses the epoch, the other half is scored; the
training negatives are reconstructed), Adult (official split) and a drawn log at 2 and 5 % clicks,
scored by the true probabilities; on the last three a tenth of the training rows chooses the epoch.
All students are the network of `benchmarks.distillation_systems` and differ by what they learn
from: ``labels`` alone, ``full``, which is our default, and ``full`` with a part taken away; what
others do with a teacher is in `benchmarks.distillation_peers`. On the drawn logs the teacher of
``full`` saw nine times the rows (``--history``); ``own ensemble`` knows no more than the student.
A student and its teacher have the same seed.

Rows nobody saw are mixed ones, four for each training row, labelled once. ``CPU time`` of a student
has everything that it needs but the training of its teacher: the teacher's logits, the start from
its weights, scoring the rows that choose the epoch. ``cost`` is that and the teacher's time over
the time of ``labels`` and the teacher. ``time per row`` is that of scoring on one thread in batches
of 8,192. Revenue and welfare are those of the auctions of `benchmarks.auction`, in percent above
those of ``labels`` or of the teacher, with 95 % intervals over auctions.

``--teachers FOLDER`` keeps the teachers, see `benchmarks.distillation_teachers`. ``--tune`` runs
the grid of `benchmarks.distillation_systems` around each of ``--systems`` and tells AUC and log
loss on the rows that choose the epoch, means over the seeds. ``--table FILE`` prints the tables of
records that ``--json`` wrote, of as many runs as there were.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from benchmarks.auction import Auctions, Outcome, compare, draw_auctions, hold
from benchmarks.distillation_systems import DIM, FULL, GRID, LABELS, LOGS, System, systems
from benchmarks.distillation_table import AUCTION, CHOOSING, MINUS, distillation_table
from benchmarks.distillation_teachers import Teacher, teacher
from benchmarks.frame import Record, read_records, run
from benchmarks.measure import cpu_seconds
from benchmarks.model_zoo import built, feed, scores
from benchmarks.model_zoo_logs import Log, Rows, adult_log, drawn, frappe
from benchmarks.taught_feed import TaughtFeed, TaughtRows, logits_of
from spark_ctr.estimator.serving_time import microseconds_per_row
from spark_ctr.networks import Inputs, Network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.networks.serialization import network_to_bytes, predictor_from_bytes
from spark_ctr.training import predict, train
from spark_ctr.training.metrics import log_odds
from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.transfer import start_from

ROWS, QUICK_ROWS = 100_000, 2_000
CLICK_RATES = {"drawn2": 0.02, "drawn5": 0.05}
AUCTIONS, QUICK_AUCTIONS = 100_000, 2_000
TIMED_ROWS = 65_536
START_ROWS = 16_384  # of the sample that the start is fitted to


@dataclass(frozen=True)
class Trained:
    """A network, and what it says of the scored rows."""

    network: Network
    logit: np.ndarray
    figures: dict[str, float]
    seconds: float | None


def opened(name: str, arguments: argparse.Namespace) -> Log | str:
    """Open a log, or say why not."""
    if name == "frappe":
        found = frappe()
        return found if isinstance(found, str) else _halves(found)
    if name == "adult":
        return adult_log(arguments.master)
    rows, history = (QUICK_ROWS, QUICK_ROWS) if arguments.quick else (ROWS, arguments.history)
    return drawn(arguments.master, rows, CLICK_RATES[name], history)


def _halves(log: Log) -> Log:
    """Have half of the scored rows choose the epoch, and score the others."""
    order = np.random.default_rng(12345).permutation(len(log.test.label))
    half = len(order) // 2
    return replace(log, valid=log.test.take(order[:half]), test=log.test.take(order[half:]))


def fit(
    system: System,
    log: Log,
    taught_by: Network | None,
    taught: TaughtRows | None,
    seed: int,
    arguments: argparse.Namespace,
) -> tuple[Network, dict[str, float]]:
    """Train a student; return it and its figures on the rows that choose the epoch."""
    student, settings = built(replace(log, inputs=narrow(log)), system.params, seed, arguments)
    rows, valid = log.split(seed)
    clicks = float(rows.label.sum())
    start_at(student, log_odds(clicks, len(rows.label) - clicks))
    batches = feed(rows, settings.batch_size, seed)
    variance = 1.0
    if taught_by is not None and taught is not None:
        if system.unseen:
            taught.mix()
        batches = TaughtFeed(taught, settings.batch_size, seed, system.unseen)
        variance = float(taught.logits.double().var(unbiased=False)) or 1.0
        _start(system.start, student, taught_by, rows, seed)
    loss = system.objective(taught_by, variance, seed).loss(student)
    history = train(student, batches, feed(valid, 8192, seed), settings, loss=loss)
    if not history.epochs:
        rows_of_valid = predict(student, feed(valid, 8192, seed)).of_task()
        return student, scores(*rows_of_valid[:2])
    best = history.best
    return student, {"auc": best["valid_auc"], "log_loss": best["valid_loss"]}


def narrow(log: Log) -> Inputs:
    """Columns of the students."""
    return replace(log.inputs, tables=tuple(replace(t, dim=DIM) for t in log.inputs.tables))


def _start(what: str, student: Network, taught_by: Network, rows: Rows, seed: int) -> None:
    if not what:
        return
    sample = np.random.default_rng(seed).permutation(len(rows.label))[:START_ROWS]
    ids, numeric = torch.from_numpy(rows.ids[sample]), torch.from_numpy(rows.numeric[sample])
    start_from(student, [taught_by], ids, numeric, layers=what == "layers")


class Bench:
    """The teachers and students of one log and seed."""

    def __init__(self, name: str, log: Log, seed: int, arguments: argparse.Namespace) -> None:
        self.name, self.log, self.seed, self.arguments = name, log, seed, arguments
        self.auctions: Auctions | None = None
        if name in CLICK_RATES:
            count = QUICK_AUCTIONS if arguments.quick else AUCTIONS
            self.auctions = draw_auctions(len(log.test.label), count, seed)
        self._teachers: dict[str, Trained] = {}
        self._taught: dict[str, TaughtRows] = {}  # of one teacher, for the memory
        self._outcomes: dict[int, Outcome] = {}

    def teacher(self, what: str) -> Trained:
        """Return a teacher, trained or read at the first call."""
        if what not in self._teachers:
            found: Teacher = teacher(self.name, what, self.log, self.seed, self.arguments)
            self._teachers[what] = self.scored(found.network, found.seconds)
        return self._teachers[what]

    def student(self, system: System) -> tuple[Trained, dict[str, float]]:
        """Train a student; return it, and its figures on the rows that choose the epoch."""
        taught_by = self.teacher(system.teacher).network if system.teacher else None
        taught = self._taught_rows(system.teacher) if taught_by is not None else None
        labelled = sum(taught.seconds.values()) if taught is not None else 0.0
        before = cpu_seconds()
        network, choosing = fit(system, self.log, taught_by, taught, self.seed, self.arguments)
        seconds = cpu_seconds() - before
        if taught is not None:
            # Students share the logits of a teacher here, and each counts what it needs of them.
            now = taught.seconds
            needed = now["rows"] + (now["mixed"] if system.unseen else 0.0)
            seconds += needed - (sum(now.values()) - labelled)
        return self.scored(network, seconds), choosing

    def _taught_rows(self, what: str) -> TaughtRows:
        if what not in self._taught:
            rows, _ = self.log.split(self.seed)
            network = self.teacher(what).network
            self._taught = {what: TaughtRows(rows, self.log.inputs, network, self.seed)}
        return self._taught[what]

    def scored(self, network: Network, seconds: float | None = None) -> Trained:
        """Return a trained network with its scores."""
        logit = logits_of(network, self.log.test).astype(np.float64)
        return Trained(network, logit, scores(self.log.test.label, logit), seconds)

    def records(self) -> Iterator[Record]:
        """Train all students that are asked for, and measure them and their teachers."""
        asked = self.arguments.systems
        known = {k: v for k, v in systems(self.name).items() if k in asked or k == LABELS}
        labels: Trained | None = None
        timed: dict[str, Network] = {}
        for name, system in known.items():
            first = system.teacher and f"teacher: {system.teacher}" not in timed
            trained, choosing = self.student(system)
            labels = labels or trained
            taught_by = self.teacher(system.teacher) if system.teacher else None
            if first and taught_by is not None:
                timed[f"teacher: {system.teacher}"] = taught_by.network
                yield from self._figures(f"teacher: {system.teacher}", taught_by, labels, None)
            timed[name] = trained.network
            yield from self._figures(name, trained, labels, taught_by)
            for metric, value in choosing.items():
                yield self._record(f"{self.name}{CHOOSING}", name, metric, value)
        yield from self._times(timed)

    def _figures(
        self, name: str, trained: Trained, labels: Trained, taught_by: Trained | None
    ) -> Iterator[Record]:
        for metric, value in trained.figures.items():
            yield self._record(self.name, name, metric, value)
        if trained.seconds is not None:
            yield self._record(self.name, name, "CPU time", trained.seconds, "s")
        for what, other in ((LABELS, labels), ("teacher", taught_by)):
            if other is None or other is trained:
                continue
            for metric in ("auc", "log_loss"):
                gap = trained.figures[metric] - other.figures[metric]
                yield self._record(f"{self.name}{MINUS}{what}", name, f"{metric} difference", gap)
            yield from self._auction(name, what, trained, other)
        parts = [t.seconds for t in (trained, labels, taught_by) if t is not None]
        known = [seconds for seconds in parts if seconds is not None]
        if len(known) == 3:
            own, plain, teachers = known
            yield self._record(self.name, name, "cost", (own + teachers) / (plain + teachers))

    def _auction(self, name: str, what: str, one: Trained, other: Trained) -> Iterator[Record]:
        if self.auctions is None:
            return
        held = [hold(self.auctions, expit(t.logit), self.log.test.label) for t in (one, other)]
        case = f"{self.name}{AUCTION}{what}"
        for metric, interval in compare(*held).items():
            yield self._record(case, name, metric, 100 * interval.value, "%")
            yield self._record(case, name, f"{metric}, low", 100 * interval.low, "%")
            yield self._record(case, name, f"{metric}, high", 100 * interval.high, "%")

    def _times(self, networks: dict[str, Network]) -> Iterator[Record]:
        predictors = {k: predictor_from_bytes(network_to_bytes(v)) for k, v in networks.items()}
        rows = self.log.test.take(np.arange(min(TIMED_ROWS, len(self.log.test.label))))
        repeats = 1 if self.arguments.quick else 5
        times = microseconds_per_row(predictors, rows.ids, rows.numeric, repeats=repeats)
        for name, value in times.items():
            yield self._record(self.name, name, "time per row", value, "µs")

    def _record(self, case: str, system: str, metric: str, value: float, unit: str = "") -> Record:
        return Record(case, system, metric, value, unit, self.seed)

    def tuning(self) -> Iterator[Record]:
        """Try the grid around each student that is asked for."""
        for name, system in systems(self.name).items():
            if name not in self.arguments.systems:
                continue
            grid = GRID[name if name in GRID else FULL]
            if self.arguments.quick:
                grid = {k: v[:1] for k, v in grid.items()}
            for values in product(*grid.values()):
                changed: dict[str, Any] = dict(zip(grid, values, strict=True))
                params = system.params | changed | {"patience": changed["maxIter"]}
                _, choosing = self.student(replace(system, params=params))
                what = " ".join(f"{param} {value:g}" for param, value in changed.items())
                for metric, value in choosing.items():
                    yield self._record(f"{self.name}: {what}{CHOOSING}", name, metric, value)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure all logs, seed by seed."""
    if arguments.table is not None:
        yield from read_records(arguments.table)
        return
    for name in arguments.data:
        log = opened(name, arguments)
        if isinstance(log, str):
            print(f"{name} is left out: {log}", file=sys.stderr)
            continue
        log = log.first(QUICK_ROWS) if arguments.quick else log
        for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
            bench = Bench(name, log, seed, arguments)
            yield from bench.tuning() if arguments.tune else bench.records()


def _options(parser: argparse.ArgumentParser) -> None:
    names = list(dict.fromkeys(name for log in LOGS for name in systems(log)))
    parser.add_argument("--data", nargs="+", choices=LOGS, default=list(LOGS), metavar="LOG")
    parser.add_argument("--systems", nargs="+", choices=names, default=names, metavar="SYSTEM")
    parser.add_argument("--teachers", type=Path, metavar="FOLDER", help="keep the teachers here")
    parser.add_argument(
        "--history", type=int, default=9 * ROWS, metavar="ROWS", help="of the informed teacher"
    )
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the settings'")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--tune", action="store_true", help="the grid instead")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of records")


if __name__ == "__main__":
    print("\n" + distillation_table(run(measure, __doc__ or "", seeds=range(5), options=_options)))

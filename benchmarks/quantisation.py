"""What quantisation costs in AUC, log loss and calibration, and what it saves in bytes and time.

The full-precision ``student`` is the distilled one of `benchmarks.distillation` with hidden layers
[128, 128, 64], or those of ``--hidden``; logs, teachers and rows are those of that benchmark, where
settings were chosen on rows that are not scored. ``default`` is what `MixedPrecisionQuantizer`
does; the others change a part of it or, where they name 1-bit layers, keep these whatever they
lose. Everything chosen here, plans, epochs and recalibration, is chosen on the rows that choose the
epoch.

Rows of tables in 4 bits are all rows, or those that `coarseShare=0.1` gives 4 bits. The same rows
in 2 bits, and all rows in 4 bits with one scale for a table, are simulated: values are rounded and
bytes counted as if a format held them.

``bytes`` are those of the saved networks, ``tables`` those of the embedding tables alone. ``time
per row`` is that of scoring on one thread in batches of 8,192, ``CPU time`` that of quantising.

``--teachers FOLDER`` keeps the teachers and ``--students FOLDER`` the students, in files
``LOG-SEED-DIGEST.safetensors``. Needs what `benchmarks.distillation` needs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.distillation import QUICK_ROWS, ROWS, Bench, narrow, opened
from benchmarks.distillation_systems import FULL, LOGS, systems
from benchmarks.distillation_table import MINUS
from benchmarks.frame import Record, read_records, run
from benchmarks.measure import cpu_seconds
from benchmarks.model_zoo import built, feed, scores
from benchmarks.model_zoo_logs import Log
from benchmarks.quantisation_coarse import coarse_rows
from benchmarks.quantisation_table import STUDENT, quantisation_table
from spark_ctr.estimator.serving_time import Predictor, microseconds_per_row
from spark_ctr.networks import Network
from spark_ctr.networks.serialization import (
    network_to_bytes,
    predictor_from_bytes,
    trusted_network_from_bytes,
)
from spark_ctr.precision.fine_tuning import (
    calibration_rows,
    fine_tune,
    quantisation,
    tuning_settings,
)
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import BINARY, INT8, prepare
from spark_ctr.precision.rare_rows import rare_rows
from spark_ctr.precision.sensitivity import Sensitivity, measure_sensitivity
from spark_ctr.precision.settings import FINE_TUNING, OBJECTIVE
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.training import predict, train
from spark_ctr.training.losses import Objective
from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.recalibration import recalibrate_network
from spark_ctr.training.training_run import TrainedNetwork, TrainingRun

TEACHER = "teacher"
HIDDEN = (128, 128, 64)
TIMED_ROWS = 65_536
TABLES = "embedding"


@dataclass(frozen=True)
class Quantised:
    """A way to quantise.

    Attributes
    ----------
    binary : {"least", "most", "all", ""}
        Which candidates are 1-bit, whatever they lose: the one that is least or most sensitive,
        all, or none.
    epochs : int
        Of fine-tuning; 0 rounds alone.
    activations : bool
        Whether inputs of 8-bit layers have 8 bits too.
    objective : dict
        Instead of the defaults of OBJECTIVE.
    coarse_share : float
        Of `rare_rows`, which have 4 bits or what is simulated.
    simulated : dict
        Options of `coarse_rows`; none where the rows have 4 bits.
    target : {"student", "teacher"}
        Whose logits fine-tuning follows.
    averaged : bool
        Whether fine-tuning averages the weights of its steps.
    """

    binary: str = ""
    epochs: int = FINE_TUNING["epochs"].default
    activations: bool = True
    objective: dict[str, Any] = field(default_factory=dict)
    coarse_share: float = 0.0
    simulated: dict[str, Any] = field(default_factory=dict)
    target: str = STUDENT
    averaged: bool = False

    def plan(self, sensitivity: Sensitivity) -> dict[str, str]:
        """Return the precision of each layer."""
        ranked = sorted(sensitivity.increase, key=lambda name: sensitivity.increase[name])
        parts = {"": [], "least": ranked[:1], "most": ranked[-1:], "all": ranked}
        chosen = parts[self.binary]
        return {name: BINARY if name in chosen else INT8 for name in sensitivity.layers}


DEFAULT = "default"
SYSTEMS = {
    "8 bits": Quantised(epochs=0),
    "8 bits, float32 inputs": Quantised(epochs=0, activations=False),
    "8 bits, trained": Quantised(),
    "4 bits, all rows": Quantised(epochs=0, coarse_share=1.0),
    "4 bits, rare rows": Quantised(epochs=0, coarse_share=0.1),
    "4 bits, a scale a table": Quantised(epochs=0, coarse_share=1.0, simulated={"bits": 4}),
    "2 bits, rare rows": Quantised(
        epochs=0, coarse_share=0.1, simulated={"bits": 2, "by_row": True}
    ),
    "1 bit, least sensitive": Quantised("least"),
    "1 bit, most sensitive": Quantised("most"),
    "1 bit, all": Quantised("all"),
    "1 bit, all, without ABWR": Quantised("all", objective={"regularisation_weight": 0.0}),
    "1 bit, all, without PT": Quantised("all", objective={"prioritised_epochs": 0}),
    "1 bit, all, without ILF": Quantised("all", objective={"inverse_layerwise": False}),
    "1 bit, all, labels alone": Quantised("all", objective={"logit_weight": 0.0}),
    "1 bit, all, teacher's logits": Quantised("all", target=TEACHER),
    "1 bit, all, averaged weights": Quantised("all", averaged=True),
}


class Students:
    """The student of a log and seed, and what becomes of it.

    Parameters
    ----------
    name, log, seed
    arguments
        Of the command line.
    which : str
        One of `benchmarks.distillation_systems.systems`.
    """

    def __init__(
        self, name: str, log: Log, seed: int, arguments: argparse.Namespace, which: str = FULL
    ) -> None:
        self.name, self.log, self.seed, self.arguments = name, log, seed, arguments
        system = systems(name)[which]
        params = system.params | {"hiddenLayers": list(arguments.hidden)}
        self.system = replace(system, params=params)
        _, self.settings = built(replace(log, inputs=narrow(log)), params, seed, arguments)
        self.bench = Bench(name, log, seed, arguments)
        self.teacher = self.bench.teacher(system.teacher).network
        self.student = self._student(self.bench)
        rows, valid = log.split(seed)
        self.ids = rows.ids
        self.feeds = feed(rows, self.settings.batch_size, seed), feed(valid, 8192, seed)

    def _student(self, bench: Bench) -> Network:
        facts = [self.system.params, self.log.inputs.to_dict(), len(self.log.train.label)]
        text = json.dumps([*facts, self.arguments.quick, self.arguments.epochs], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        folder: Path | None = self.arguments.students
        file = folder and folder / f"{self.name}-{self.seed}-{digest}.safetensors"
        if file is not None and file.exists():
            return trusted_network_from_bytes(file.read_bytes())
        student = bench.student(self.system)[0].network
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(network_to_bytes(student))
        return student

    def quantised(self, how: Quantised) -> tuple[PackedModel, float]:
        """Quantise the student by a plan that is kept; return the bytes that it saves besides."""
        train_feed, valid_feed = self.feeds
        student, saved, coarse = self.student, 0.0, {}
        if how.coarse_share:
            coarse = rare_rows(student, [torch.from_numpy(self.ids)], how.coarse_share)
        if how.simulated:
            student, saved = coarse_rows(student, coarse, **how.simulated)
            coarse = {}
        sensitivity = measure_sensitivity(student, valid_feed.batches(0))
        rows = calibration_rows(train_feed)
        network = prepare(
            student, how.plan(sensitivity), rows, activations=how.activations, coarse=coarse
        )
        epochs = self._epochs(how.epochs)
        if epochs == 0:
            recalibrate_network(network, predict(network, valid_feed))
            return pack_network(network), saved
        rate = FINE_TUNING["learning_rate"].default
        settings = tuning_settings(self.settings, epochs, rate)
        settings = replace(settings, average_weights=how.averaged)
        loss = self._objective(how).loss(network)
        train(network, train_feed, valid_feed, settings, loss=loss)
        return pack_network(network), saved

    def by_default(self) -> PackedModel:
        """Quantise the student as `MixedPrecisionQuantizer` does."""

        def trained(asked: TrainingRun) -> TrainedNetwork:
            loss = asked.objective.loss(asked.network)
            history = train(asked.network, *self.feeds, asked.settings, loss=loss)
            return TrainedNetwork(asked.network, history.to_dict(), "")

        values = {name: setting.default for name, setting in FINE_TUNING.items()}
        values["epochs"] = self._epochs(values["epochs"])
        found = fine_tune(
            self.student,
            *self.feeds,
            settings=self.settings,
            objective=self._objective(Quantised()),
            run=trained,
            **values,
        )
        return pack_network(found.trained.network)

    def _epochs(self, wanted: int) -> int:
        few = 1 if self.arguments.quick else self.arguments.epochs
        return wanted if few is None else min(wanted, few)

    def _objective(self, how: Quantised) -> Objective:
        defaults = {name: setting.default for name, setting in OBJECTIVE.items()}
        target = self.teacher if how.target == TEACHER else self.student
        return quantisation(target, **defaults | how.objective)

    def records(self) -> Iterator[Record]:
        """Quantise in all ways that are asked for, and measure."""
        teacher, student = (network_to_bytes(n) for n in (self.teacher, self.student))
        predictors: dict[str, Predictor] = {
            TEACHER: predictor_from_bytes(teacher),
            STUDENT: predictor_from_bytes(student),
        }
        own = self._scores(predictors[STUDENT])
        for name, network in ((TEACHER, self.teacher), (STUDENT, self.student)):
            weights = network.state_dict()
            yield from self._figures(name, predictors[name], own)
            yield self._record(name, "bytes", sum(w.nbytes for w in weights.values()), "B")
            tables = (w.nbytes for key, w in weights.items() if key.find(TABLES) >= 0)
            yield self._record(name, "tables", sum(tables), "B")
        for name in self.arguments.systems:
            before = cpu_seconds()
            how = SYSTEMS.get(name)
            model, saved = (self.by_default(), 0.0) if how is None else self.quantised(how)
            yield self._record(name, "CPU time", cpu_seconds() - before, "s")
            predictors[name] = model.predict_logits
            yield from self._figures(name, predictors[name], own)
            yield self._record(name, "bytes", model.nbytes - saved, "B")
            arrays = model.to_arrays()[1]
            held = (array.nbytes for key, array in arrays.items() if key.find(TABLES) >= 0)
            yield self._record(name, "tables", sum(held) - saved, "B")
            binary = list(model.layers.values()).count(BINARY)
            yield self._record(name, "1-bit layers", binary)
        rows = self.log.test.take(np.arange(min(TIMED_ROWS, len(self.log.test.label))))
        repeats = 1 if self.arguments.quick else 5
        times = microseconds_per_row(predictors, rows.ids, rows.numeric, repeats=repeats)
        for name, value in times.items():
            yield self._record(name, "time per row", value, "µs")

    def logits(self, predict: Predictor) -> np.ndarray:
        """Return the logits float64 of the scored rows."""
        rows = self.log.test
        logits = [
            predict(rows.ids[at], rows.numeric[at])[:, 0]
            for at in np.split(np.arange(len(rows.label)), range(8192, len(rows.label), 8192))
        ]
        return np.concatenate(logits).astype(np.float64)

    def _scores(self, predict: Predictor) -> dict[str, float]:
        return scores(self.log.test.label, self.logits(predict))

    def _figures(self, name: str, predict: Predictor, own: dict[str, float]) -> Iterator[Record]:
        found = self._scores(predict)
        for metric, value in found.items():
            yield self._record(name, metric, value)
        if name == STUDENT:
            return
        for metric in ("auc", "log_loss"):
            gap = found[metric] - own[metric]
            case = f"{self.name}{MINUS}{STUDENT}"
            yield Record(case, name, f"{metric} difference", gap, "", self.seed)

    def _record(self, system: str, metric: str, value: float, unit: str = "") -> Record:
        return Record(self.name, system, metric, value, unit, self.seed)


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
            yield from Students(name, log, seed, arguments).records()


def _options(parser: argparse.ArgumentParser) -> None:
    names = [DEFAULT, *SYSTEMS]
    parser.add_argument("--data", nargs="+", choices=LOGS, default=list(LOGS), metavar="LOG")
    parser.add_argument("--systems", nargs="+", choices=names, default=names, metavar="SYSTEM")
    parser.add_argument(
        "--hidden", nargs="+", type=int, default=HIDDEN, metavar="WIDTH", help="of the students"
    )
    parser.add_argument("--teachers", type=Path, metavar="FOLDER", help="keep the teachers here")
    parser.add_argument("--students", type=Path, metavar="FOLDER", help="keep the students here")
    parser.add_argument(
        "--history", type=int, default=9 * ROWS, metavar="ROWS", help="of the informed teacher"
    )
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the settings'")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of records")


if __name__ == "__main__":
    print("\n" + quantisation_table(run(measure, __doc__ or "", seeds=range(5), options=_options)))

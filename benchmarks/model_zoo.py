"""Accuracy of the networks, trained with the pure trainer, beside published figures and peers.

``frappe``: the networks in the sizes that BARS publishes for Frappe_x1 (dimension 10, batches of
4,096, Adam at 0.001 and a tenth of it after a worse epoch, patience 2, the published penalty and
dropout of each network), and dcnv2 as `CTRClassifier` has it. **The training negatives are
reconstructed, and the official test rows are not here**: all official valid rows choose the epoch
and are scored, which is the protocol of FuxiCTR's validation AUC and of the figures of BARS on
those rows (one run each, original negatives). FuxiCTR trains its classes of the networks on the
same encoded rows with the same settings where ``--peers-python`` and ``--fuxictr`` name an
environment and a clone, see `benchmarks.model_zoo_fuxictr`. ``dnn 3 members`` is an ensemble
(`CTRClassifier(members=3)`) in ten epochs of a cosine schedule.

``adult``: official split, the epoch is chosen on a tenth of the training rows; ``drawn``:
`spark_ctr.datasets.click_log` scored by the true probabilities (the AUC expected over labels), so
that ``best reachable`` is exact. Both are encoded by the default stages of the main job. Peers are
scikit-learn's, see `benchmarks.model_zoo_peers`.

A case is a log and a network, and on other logs its settings: ``defaults`` of `CTRClassifier`, or a
change of them. ``--systems`` runs ours or FuxiCTR alone; ``CPU time`` includes scoring the rows
that choose the epoch. ``--tune`` runs a grid on one seed and tells the AUC on the rows that choose
the epoch. All else is as `CTRClassifier` has it, the average of weights included.
``--table FILE`` prints the table of records that ``--json`` wrote, of as many runs as there were.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.array_feed import ArrayFeed
from benchmarks.frame import OURS, Record, read_records, run
from benchmarks.measure import cpu_seconds
from benchmarks.model_zoo_fuxictr import FUXICTR, train_with_fuxictr, why_not_fuxictr
from benchmarks.model_zoo_logs import Log, Rows, adult_log, drawn, frappe
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Network, build_network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.training import predict, train
from spark_ctr.training.metrics import (
    calibration_of_logits,
    log_loss_of_logits,
    log_odds,
    roc_auc,
)
from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.settings import TrainingSettings

try:
    from benchmarks.model_zoo_peers import PEERS
except ImportError as error:
    sys.exit(f"benchmarks.model_zoo needs scikit-learn for its peers ({error}): install it")

LOGS = ("frappe", "adult", "drawn")
ROWS, QUICK_ROWS = 100_000, 4_000
BEST = "best reachable"
BARS = "BARS"
CHOOSING = ", rows that choose the epoch"

# Params of CTRClassifier, from the run logs of BARS (reczoo/BARS, ranking/ctr/*/*_frappe_x1).
_BARS: dict[str, Any] = {
    "hiddenLayers": [400, 400, 400],
    "batchNorm": True,
    "batchSize": 4096,
    "learningRateDecay": 0.1,
    "patience": 2,
    "maxIter": 40,
    "embeddingRegularization": 0.05,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    # At the published rate, 0.001, these take more than a hundred epochs.
    "lr": {"network": "lr", "embeddingRegularization": 0.0, "learningRate": 0.01},
    "fm": {"network": "fm", "embeddingRegularization": 5e-6, "learningRate": 0.01},
    "dnn": {"network": "dnn", "dropout": 0.2},
    "dnn 3 members": {
        "network": "dnn",
        "dropout": 0.2,
        "members": 3,
        "learningRateSchedule": "cosine",
        "learningRate": 0.002,
        "warmupSteps": 50,
        "maxIter": 10,
        "patience": 10,
    },
    "deepfm": {"network": "deepfm", "dropout": 0.2},
    "dcnv2": {"network": "dcnv2", "dropout": 0.4, "crossLayers": 4},
    "dcnv2 low-rank": {
        "network": "dcnv2",
        "dropout": 0.4,
        "crossLayers": 4,
        "networkOptions": {"cross_rank": 32},
    },
    # BARS takes 5 layers of 4 heads, 128 wide, which would take a core ten minutes a run.
    "autoint": {"network": "autoint", "dropout": 0.1, "embeddingRegularization": 0.1},
    "fibinet": {
        "network": "fibinet",
        "dropout": 0.3,
        "networkOptions": {"bilinear": "all", "reduction": 2},
    },
    "finalmlp": {
        "network": "finalmlp",
        "dropout": 0.4,
        "hiddenLayers": [400],
        "networkOptions": {"heads": 5, "first_context": ["user"], "second_context": ["item"]},
    },
}
# AUC of one run on the official valid rows.
FIGURES = {
    "lr": 0.937734,
    "fm": 0.968650,
    "dnn": 0.984869,
    "deepfm": 0.985168,
    "dcnv2": 0.984840,
    "autoint": 0.985379,
    "fibinet": 0.982882,
    "finalmlp": 0.986631,
}
# Networks of the other logs; all else is the default of CTRClassifier.
DEFAULTS: dict[str, dict[str, Any]] = {name: {"network": name.split()[0]} for name in PUBLISHED} | {
    "dcnv2 low-rank": {"network": "dcnv2", "networkOptions": {"cross_rank": 16}},
    "dnn 3 members": {"network": "dnn", "members": 3},
}
# The defaults of CTRClassifier, and with some changed.
VARIANTS: dict[str, dict[str, Any]] = {
    "dcnv2 defaults": {},
    "dcnv2 without averaging": {"weightAveraging": False},
    "dcnv2 penalty 0.001": {"embeddingRegularization": 0.001},
    "dcnv2 penalty 0.01": {"embeddingRegularization": 0.01},
    "dcnv2 penalty 0.1": {"embeddingRegularization": 0.1},
    "dcnv2 cosine": {"learningRateSchedule": "cosine", "warmupSteps": 200, "maxIter": 8},
    "dcnv2 adagrad": {"optimizer": "adagrad"},
    "fibinet with batchNorm": {"network": "fibinet", "batchNorm": True},
    # The settings of dcnv2, and the published width.
    "fibinet as dcnv2": {"network": "fibinet", "hiddenLayers": [400, 400], "batchNorm": True},
    "autoint as dcnv2": {"network": "autoint", "hiddenLayers": [400, 400], "dropout": 0.2},
    "finalmlp published": {"network": "finalmlp", "hiddenLayers": [400], "dropout": 0.4},
}
GRID = {"embeddingRegularization": [1e-3, 1e-2, 5e-2], "dropout": [0.2, 0.4]}


def scores(label: np.ndarray, logit: np.ndarray) -> dict[str, float]:
    """AUC, log loss and predicted over expected clicks of labels, or of their probabilities."""
    # Every row as a click and as none, by the weight of either.
    rows = (
        np.repeat([1.0, 0.0], len(label)),
        np.tile(logit, 2),
        np.concatenate([label, 1.0 - label]),
    )
    return {
        "auc": roc_auc(*rows),
        "log_loss": log_loss_of_logits(*rows),
        "calibration ratio": calibration_of_logits(*rows),
    }


def feed(rows: Rows, batch_size: int, seed: int) -> ArrayFeed:
    """Rows as batches."""
    return ArrayFeed(rows.ids, rows.label, batch_size, seed, rows.numeric)


def built(
    log: Log, params: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> tuple[Network, TrainingSettings]:
    """Return the network of a `CTRClassifier` with these Params, and how it trains."""
    # Scored rows may choose the epoch, as published, but must not say how far to trust scores.
    classifier = CTRClassifier(
        seed=seed,
        device="cpu",
        precision=arguments.precision,
        recalibrate=log.valid is not log.test,
        **params,
    )
    if arguments.quick or arguments.epochs is not None:
        classifier.setMaxIter(arguments.epochs or 1)
    config = classifier.network_config()
    network = build_network(classifier.getNetwork(), log.inputs, config, seed)
    return network, classifier.training_settings()


@dataclass(frozen=True)
class Fitted:
    """Figures of the scored rows, and those of the rows that chose the epoch, in the best one."""

    figures: dict[str, float]
    best: dict[str, float]


def fitted(log: Log, params: dict[str, Any], seed: int, arguments: argparse.Namespace) -> Fitted:
    """Train as a `CTRClassifier` with these Params would, and score."""
    network, settings = built(log, params, seed, arguments)
    rows, valid = log.split(seed)
    clicks = float(rows.label.sum())
    start_at(network, log_odds(clicks, len(rows.label) - clicks))
    before = cpu_seconds()
    history = train(
        network, feed(rows, settings.batch_size, seed), feed(valid, 8192, seed), settings
    )
    taken = cpu_seconds() - before
    found = predict(network, feed(log.test, 8192, seed))
    measured = scores(*found.of_task()[:2])
    measured |= {"best epoch": float(history.best_epoch + 1), "CPU time": taken}
    return Fitted(measured, history.best)


def trained(
    log: Log, params: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Train as a `CTRClassifier` with these Params would; figures of the scored rows."""
    found = fitted(log, params, seed, arguments)
    if log.valid is log.test:
        return found.figures
    return found.figures | {"auc" + CHOOSING: found.best["valid_auc"]}


def trained_by_fuxictr(
    log: Log, params: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Train FuxiCTR's class of the network; figures of its best epoch."""
    network, settings = built(log, params, seed, arguments)
    found = train_with_fuxictr(arguments.peers_python, arguments.fuxictr, log, network, settings)
    best = float(np.argmax(found["auc"]))
    return {"auc": max(found["auc"]), "best epoch": best + 1, "CPU time": found["cpu"]}


def records(case: str, system: str, values: dict[str, float], seed: int) -> Iterator[Record]:
    """One record for each value; ``auc, WHERE`` becomes a case of its own."""
    for name, value in values.items():
        metric, _, where = name.partition(", ")
        whole = f"{case}, {where}" if where else case
        yield Record(whole, system, metric, value, "s" if metric == "CPU time" else "", seed)


def measure_log(name: str, log: Log, arguments: argparse.Namespace, seed: int) -> Iterator[Record]:
    """Train the networks on a log with one seed, then the peers."""
    missing = why_not_fuxictr(arguments.peers_python, arguments.fuxictr)
    with_fuxictr = name == "frappe" and FUXICTR in arguments.systems
    if with_fuxictr and missing:
        print(f"without {FUXICTR}: {missing}")
        with_fuxictr = False
    ours: dict[str, dict[str, Any]] = {}
    for network in arguments.networks:
        if name != "frappe":
            ours[f"{network} defaults"] = DEFAULTS[network]
            continue
        published = _BARS | PUBLISHED[network]
        if with_fuxictr and "members" not in published:
            found = trained_by_fuxictr(log, published, seed, arguments)
            yield from records(f"{name}: {network}", FUXICTR, found, seed)
        ours[network] = published
    if OURS not in arguments.systems:
        return
    for variant in arguments.variants:
        ours[variant] = DEFAULTS["dcnv2"] | VARIANTS[variant]
    for what, params in ours.items():
        yield from records(f"{name}: {what}", OURS, trained(log, params, seed, arguments), seed)
        if name == "frappe" and what in FIGURES:
            yield Record(f"{name}: {what}", BARS, "auc", FIGURES[what], "", seed)
    if arguments.peers and log.raw_train is not None and log.raw_test is not None:
        for system, fit in PEERS.items():
            label, logit = fit(log.raw_train, log.raw_test, arguments.quick, seed)
            yield from records(f"{name}: peers", system, scores(label, logit), seed)
    if name == "drawn":
        p = log.test.label
        best = scores(p, np.log(p) - np.log1p(-p))
        yield from records(f"{name}: peers", BEST, best, seed)


def tune(name: str, log: Log, arguments: argparse.Namespace, seed: int) -> Iterator[Record]:
    """Try a grid around a network's settings on one seed."""
    choosing = "auc" if log.valid is log.test else "auc" + CHOOSING
    for network in arguments.networks:
        start = _BARS | PUBLISHED[network] if name == "frappe" else DEFAULTS[network]
        for values in product(*GRID.values()):
            changed = dict(zip(GRID, values, strict=True))
            found = trained(log, start | changed, seed, arguments)
            what = " ".join(f"{param} {value:g}" for param, value in changed.items())
            case = f"{name}: {network} tuning, {what}{CHOOSING}"
            yield Record(case, OURS, "auc", found[choosing], "", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure all logs, seed by seed."""
    quick = arguments.quick
    if arguments.table is not None:
        yield from read_records(arguments.table)
        return
    for name in arguments.data:
        if name == "frappe":
            log = frappe()
        elif name == "adult":
            log = adult_log(arguments.master)
        else:
            log = drawn(arguments.master, QUICK_ROWS if quick else ROWS)
        if isinstance(log, str):
            print(f"{name} is left out: {log}", file=sys.stderr)
            continue
        log = log.first(QUICK_ROWS) if quick else log
        for seed in arguments.seeds[:1] if quick else arguments.seeds:
            yield from (tune if arguments.tune else measure_log)(name, log, arguments, seed)


def _options(parser: argparse.ArgumentParser) -> None:
    networks, variants, systems = list(PUBLISHED), list(VARIANTS), [OURS, FUXICTR]
    parser.add_argument("--data", nargs="+", choices=LOGS, default=list(LOGS), metavar="LOG")
    parser.add_argument(
        "--networks", nargs="*", choices=networks, default=networks, metavar="NETWORK"
    )
    parser.add_argument(
        "--variants", nargs="*", choices=variants, default=variants, metavar="VARIANT"
    )
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, metavar="SYSTEM")
    parser.add_argument("--peers-python", metavar="FILE", help="interpreter of FuxiCTR's packages")
    parser.add_argument("--fuxictr", type=Path, metavar="FOLDER", help="clone of its repository")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the settings'")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--tune", action="store_true", help="the grid, on the first seed")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of records")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

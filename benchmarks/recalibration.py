"""What recalibration gains on rows that neither training nor recalibration saw.

The default network of `CTRClassifier` is trained by the pure trainer on ``frappe`` (its training
negatives are reconstructed), ``adult``, ``talkingdata`` and ``drawn`` (2 % clicks), see
`benchmarks.model_zoo_logs`. A tenth of the training rows, by the seed, choose the epoch and fit
slope and offset; the held-out rows are scored by the same trained network with (``spark_ctr``) and
without (``plain``) them. ``slope`` is what a logistic recalibration fitted to the scored rows
themselves would ask for (1 is right; not of ``drawn``, whose labels are probabilities), the
calibration ratio is clicks predicted over clicks observed.

``without dropout`` is ``plain`` with batch statistics for the averaged weights that were estimated
without dropout, as they once were. ``--batch-norm off`` trains without batch normalisation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from benchmarks.array_feed import ArrayFeed
from benchmarks.frame import OURS, Record, run
from benchmarks.model_zoo import feed, scores
from benchmarks.model_zoo_logs import Log, adult_log, drawn, frappe, logs, talking_data
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Network, build_network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.training import predict, train
from spark_ctr.training.batch_statistics import RECENT, BatchStatistics
from spark_ctr.training.metrics import log_odds
from spark_ctr.training.recalibration import recalibrate

LOGS = ("talkingdata", "adult", "frappe", "drawn")
ROWS, QUICK_ROWS = 100_000, 4_000
CLICK_RATE = 0.02
PLAIN, NARROW = "plain", "without dropout"


def measured(label: np.ndarray, logit: np.ndarray) -> dict[str, float]:
    """Figures of logits of the scored rows."""
    found = scores(label, logit)
    if set(np.unique(label)) <= {0.0, 1.0}:
        found["slope"] = recalibrate(label, logit).slope
    return found


def narrow_logits(network: Network, test: ArrayFeed, rows_feed: ArrayFeed) -> np.ndarray:
    """Logits of the scored rows by batch statistics that were estimated without dropout."""
    dropped = {m: m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    statistics = BatchStatistics(network)
    # The rows of the best epoch's last batches, in another order.
    for _ in statistics.batches(rows_feed, 0, max(0, rows_feed.steps - RECENT)):
        pass
    try:
        for module in dropped:
            module.p = 0.0
        with statistics.estimated():
            return predict(network, test).logit[:, 0]
    finally:
        for module, p in dropped.items():
            module.p = p


def both(log: Log, seed: int, arguments: argparse.Namespace) -> Iterator[tuple[str, str, float]]:
    """Train once; yield (system, metric, value) of the scored rows with each map of the logits."""
    rows, valid = log.split(seed)
    stage = CTRClassifier(
        seed=seed, device="cpu", recalibrate=False, batchNorm=arguments.batch_norm == "on"
    )
    if arguments.epochs is not None or arguments.quick:
        stage.setMaxIter(arguments.epochs or 1)
    network = build_network(stage.getNetwork(), log.inputs, stage.network_config(), seed)
    clicks = float(rows.label.sum())
    start_at(network, log_odds(clicks, len(rows.label) - clicks))
    settings = stage.training_settings()
    rows_feed = feed(rows, settings.batch_size, seed)
    history = train(network, rows_feed, feed(valid, 8192, seed), settings)
    choosing = predict(network, feed(valid, 8192, seed))
    found = recalibrate(*choosing.of_task())
    test = feed(log.test, 8192, seed)
    label, logit, _ = predict(network, test).of_task()
    systems = {OURS: found.slope * logit + found.offset, PLAIN: logit}
    if arguments.batch_norm == "on":
        systems[NARROW] = narrow_logits(network, test, rows_feed)
    for system, values in systems.items():
        for metric, value in measured(label, values).items():
            yield system, metric, value
    yield OURS, "fitted slope", found.slope
    yield OURS, "fitted offset", found.offset
    yield OURS, "best epoch", float(history.best_epoch + 1)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure all logs, seed by seed."""
    for name, log in logs(arguments, opened, QUICK_ROWS):
        case = name if arguments.batch_norm == "on" else f"{name} without batch normalisation"
        for seed in arguments.seeds:
            for system, metric, value in both(log, seed, arguments):
                yield Record(case, system, metric, value, "", seed)


def opened(name: str, arguments: argparse.Namespace) -> Log | str:
    """Open a log by name; the rows that choose the epoch are never those that are scored."""
    if name == "frappe":
        found = frappe()
        return found if isinstance(found, str) else replace(found, valid=None)
    if name == "drawn":
        return drawn(arguments.master, QUICK_ROWS if arguments.quick else ROWS, CLICK_RATE)
    return talking_data(arguments.master) if name == "talkingdata" else adult_log(arguments.master)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", nargs="+", choices=LOGS, default=LOGS)
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the default's")
    parser.add_argument("--batch-norm", choices=("on", "off"), default="on")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

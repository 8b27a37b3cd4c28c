"""Epochs that networks need to become better than a constant, started at the base rate or at 0.

The logs are those of `benchmarks.model_zoo_logs`: ``talkingdata`` (0.2 % conversions), ``drawn``
(2 % clicks) and ``adult`` (24 %). The network is `CTRClassifier`'s default with hidden layers of 64
and 32, trained by the pure trainer for ``--epochs``; ``spark_ctr`` starts its output bias at the
log-odds of the training rows, as `CTRClassifier` does, ``zero`` starts it at 0. All else, the
random weights included, is equal. A tenth of the training rows are for validation.

For each of the first epochs: log loss less the constant's (the base rate of the training rows), AUC
and calibration ratio (clicks predicted over clicks observed) on the validation rows. ``epochs worse
than the constant`` counts those whose log loss is above the constant's, ``epochs saved`` says how
many epochs earlier the base rate reaches what ``zero`` reaches in its last epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.frame import OURS, Record, run
from benchmarks.model_zoo import feed
from benchmarks.model_zoo_logs import Log, adult_log, drawn, logs, talking_data
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import build_network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.training import History, train
from spark_ctr.training.metrics import log_loss, log_odds

LOGS = ("talkingdata", "drawn", "adult")
ROWS, QUICK_ROWS = 100_000, 4_000
CLICK_RATE = 0.02
ZERO = "zero"


def trained(log: Log, seed: int, epochs: int, at_base_rate: bool) -> tuple[History, float]:
    """Return the history of a training, and the constant's log loss on its validation rows."""
    rows, valid = log.split(seed)
    stage = CTRClassifier(
        hiddenLayers=[64, 32], maxIter=epochs, patience=epochs, seed=seed, device="cpu"
    )
    network = build_network(stage.getNetwork(), log.inputs, stage.network_config(), seed)
    clicks = float(rows.label.sum())
    start_at(network, log_odds(clicks, len(rows.label) - clicks) if at_base_rate else 0.0)
    settings = stage.training_settings()
    history = train(
        network, feed(rows, settings.batch_size, seed), feed(valid, 8192, seed), settings
    )
    rate = np.full(len(valid.label), clicks / len(rows.label))
    return history, log_loss(valid.label, rate)


def figures(history: History, constant: float) -> Iterator[tuple[str, str, float]]:
    """Yield (what, metric, value) of each epoch and of them all."""
    losses = [epoch["valid_loss"] for epoch in history.epochs]
    for number, epoch in enumerate(history.epochs, 1):
        yield f"epoch {number}", "log loss less the constant's", epoch["valid_loss"] - constant
        yield f"epoch {number}", "auc", epoch["valid_auc"]
        yield f"epoch {number}", "calibration ratio", epoch["valid_calibration"]
    worse = sum(loss > constant for loss in losses)
    yield "all epochs", "epochs worse than the constant", float(worse)


def saved(ours: History, zero: History) -> float:
    """Epochs of `zero` less those that `ours` needs to be as good as its last."""
    wanted = zero.epochs[-1]["valid_loss"]
    reached = [n for n, epoch in enumerate(ours.epochs, 1) if epoch["valid_loss"] <= wanted]
    return float(len(zero.epochs) - (reached[0] if reached else len(ours.epochs)))


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Train both on every log and seed."""
    for name, log in logs(arguments, opened, QUICK_ROWS):
        for seed in arguments.seeds:
            histories = {}
            for system in (OURS, ZERO):
                history, constant = trained(log, seed, arguments.epochs, system == OURS)
                histories[system] = history
                for what, metric, value in figures(history, constant):
                    yield Record(f"{name}: {what}", system, metric, value, "", seed)
            value = saved(histories[OURS], histories[ZERO])
            yield Record(f"{name}: all epochs", OURS, "epochs saved", value, "", seed)


def opened(name: str, arguments: argparse.Namespace) -> Log | str:
    """Open a log by name."""
    if name == "drawn":
        return drawn(arguments.master, QUICK_ROWS if arguments.quick else ROWS, CLICK_RATE)
    return talking_data(arguments.master) if name == "talkingdata" else adult_log(arguments.master)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", nargs="+", choices=LOGS, default=LOGS)
    parser.add_argument("--epochs", type=int, default=4)


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

"""Does the selection rule cost accuracy where rows are plenty? Drawn logs, 2 % clicks, by time.

Part of `benchmarks.selection`. The budget is a million rows, far more than the values seen twice
need. ``spark_ctr`` is the default rule; ``estimate only`` takes a column to be worth what was
estimated, not what it may be worth, and one in which nothing was seen for useless (the rule of
before); ``seen twice`` gives a row to every value seen twice in every column, as the encoder
without a selector does. All are trained as `CTRClassifier` does by default, but in fewer epochs.

Figures ``by the truth`` are expected over labels drawn from the test rows' true probabilities,
so that only the network's own chance is left in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch

from benchmarks.array_feed import ArrayFeed
from benchmarks.frame import OURS, Record
from benchmarks.model_zoo import scores
from benchmarks.selection_click_logs import WORLDS, clicks
from benchmarks.selection_logs import Log
from benchmarks.selection_plans import Counted, Plan
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.power_law import ColumnStats, select_columns
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.metrics import log_odds

BUDGET = 1_000_000
DIM = 8
NETWORK = {"hidden_layers": [64, 32], "dropout": 0.1, "batch_norm": False}
EPOCHS = 4
ESTIMATE, TWICE = "estimate only", "seen twice"
LABELS, TRUTH = "by labels", "by the truth"


def estimate_only(stats: list[ColumnStats]) -> list[ColumnStats]:
    """Return the statistics without what keeps columns in which nothing was seen."""
    even = 0.25  # variance of an even label, of which effects explain most
    return [
        replace(one, possible_relevance=0.0, joint=one.joint and replace(one.joint, variance=even))
        for one in stats
    ]


def plans(counted: Counted) -> dict[str, Plan]:
    """Return what is compared."""
    estimates = select_columns(estimate_only(counted.stats), BUDGET, min_gain=0.3)
    return {
        OURS: counted.decided(select_columns(counted.stats, BUDGET)),
        ESTIMATE: counted.decided(estimates),
        TWICE: counted.at_least(2),
    }


def quality(log: Log, plan: Plan, seed: int, epochs: int) -> dict[tuple[str, str], float]:
    """Train, choosing the epoch on a tenth of the training rows; figures by truth and by labels."""
    tables = [Table(log.columns[c], 2 + len(v), DIM) for c, v in plan.private.items()]
    network = build_network("dnn", Inputs(tuple(tables), ()), NETWORK, seed)
    clicked = float(log.train_label.sum())
    start_at(network, log_odds(clicked, len(log.train_label) - clicked))
    order = np.random.default_rng(seed).permutation(len(log.train))
    ids, tenth = plan.ids(log.train), len(order) // 10
    settings = TrainingSettings(
        max_epochs=epochs,
        patience=2,
        embedding_l2=0.05,
        average_weights=True,
        recalibrate=False,
        seed=seed,
        device="cpu",
    )
    parts = order[tenth:], order[:tenth]
    feeds = [ArrayFeed(ids[part], log.train_label[part], 1024, seed) for part in parts]
    train(network, feeds[0], feeds[1], settings)
    network.eval()
    with torch.inference_mode():
        scored = [
            network(rows, torch.zeros(len(rows), 0)).double().numpy()
            for rows in torch.from_numpy(plan.ids(log.test)).split(8192)
        ]
    logit = np.concatenate(scored)[:, 0]
    assert log.test_probability is not None
    known = {TRUTH: log.test_probability, LABELS: log.test_label.astype(np.float64)}
    return {
        (by, metric): value
        for by, label in known.items()
        for metric, value in scores(label, logit).items()
    }


def measure_clicks(
    master: str, rows: int, worlds: list[str], truths: list[int], seeds: list[int], epochs: int
) -> Iterator[Record]:
    """Measure every log with every seed of the network.

    Parameters
    ----------
    master : str
        Of Spark, which draws the logs.
    rows : int
        Of each log, four fifths of them to train.
    worlds : list of str
        Of `WORLDS`.
    truths, seeds : list of int
        Of the logs' effects and rows, and of the networks.
    epochs : int
        At most.
    """
    for truth, world in product(truths, worlds):
        log = clicks(master, rows, world, truth)
        case = f"clicks, {world}, {rows:,} rows, log {truth}"
        compared = plans(Counted(log, seed=truth))
        for seed in seeds:
            found: dict[tuple[tuple[int, int], ...], dict[tuple[str, str], float]] = {}
            figures = {}
            for system, plan in compared.items():
                key = tuple((c, len(v)) for c, v in plan.private.items())  # plans may agree
                if key not in found:
                    found[key] = quality(log, plan, seed, epochs)
                figures[system] = found[key]
                yield Record(case, system, "rows", plan.rows, "rows", seed)
                for (by, metric), value in found[key].items():
                    yield Record(f"{case}, {by}", system, metric, value, "", seed)
            for peer in (ESTIMATE, TWICE):
                for (by, metric), ours in figures[OURS].items():
                    minus = f"{case}, {by}: minus {peer}"
                    yield Record(minus, OURS, metric, ours - figures[peer][by, metric], "", seed)


__all__ = ["EPOCHS", "WORLDS", "measure_clicks"]

"""Networks of several tasks against a tuned network for each task, where the truth is known.

A drawn log of impressions has 8 % clicks, of which few convert (``--conversion-rate``); the effects
of its values on clicks and on conversions are correlated (``--correlation``). ``single`` are two
networks of the size of the others' trunk and tower, one of clicks, trained on all impressions, and
one of conversions, trained on the clicks alone. The others learn both with one network. All are
scored on impressions of their own draw by the true probabilities, not by labels: ``click`` and
``conversion`` (given a click, over all impressions), ``conversion of clicks`` (over the clicked
ones), and ``ctcvr``, both, as the product of the two. Figures are AUC, log loss and the calibration
ratio, the mean prediction over the mean truth; for conversions over all impressions it tells the
bias of what was learned from clicks.

``--data hillstrom`` takes the customers of an e-mail campaign instead (visits for clicks, purchases
for conversions), scored by their labels, so that nothing is said of conversions where nobody
visited. There is ``single, directly`` too, a network of purchases trained on all customers. On
either log ``constant rate`` and ``logistic regression``, one-hot, of `benchmarks.model_zoo_peers`,
are baselines, a model for clicks and one for conversions of clicks.

``--tune`` prints the figures of each point of a system's grid on draws that no other run reports
(seeds from 1000 on; of Hillstrom on the customers that choose the epoch): each of ``--rates``, and
two weights of conversions. What it chose stands in
`CHOSEN`. Rows that are reported choose nothing. ``--compare`` prints, of records that ``--json``
wrote, each system's differences from ``single`` with standard errors over seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.frame import Record, markdown, read_records, run
from benchmarks.model_zoo import scores
from benchmarks.model_zoo_peers import linear
from benchmarks.multitask_log import Log, Rows, TaskFeed, drawn, hillstrom
from spark_ctr.networks import Network, build_network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.metrics import log_odds

Point = tuple[float, float, float]

ROWS, QUICK_ROWS = 100_000, 2_000
CONVERSION_RATE, CORRELATION = 0.05, 0.7
SINGLE = "single"
DIRECT, CONSTANT, LINEAR = "single, directly", "constant rate", "logistic regression"
BASELINES = (CONSTANT, LINEAR)
DRAWN, HILLSTROM = "drawn", "hillstrom"
TRUNK, TOWER = [64], [32]
# A network, and how the tasks' losses become one.
SYSTEMS: dict[str, tuple[str, str]] = {
    "shared_bottom": ("shared_bottom", "given"),
    "shared_bottom, uncertainty": ("shared_bottom", "uncertainty"),
    "shared_bottom, gradnorm": ("shared_bottom", "gradnorm"),
    "shared_bottom, pcgrad": ("shared_bottom", "pcgrad"),
    "mmoe": ("mmoe", "given"),
    "ple": ("ple", "given"),
    "esmm": ("esmm", "given"),
}
PENALTY, WEIGHTS = 0.05, (1.0, 4.0)
# Learning rate, penalty of the tables, and weight of conversions, by log.
CHOSEN: dict[str, dict[str, Point]] = {
    DRAWN: {
        **dict.fromkeys(SYSTEMS, (5e-4, 0.05, 1.0)),
        f"{SINGLE} click": (5e-4, 0.05, 1.0),
        f"{SINGLE} conversion": (1e-3, 0.05, 1.0),
    },
    HILLSTROM: {
        **dict.fromkeys(SYSTEMS, (1e-3, 0.05, 1.0)),
        "mmoe": (3e-3, 0.05, 4.0),
        "ple": (3e-3, 0.05, 1.0),
        "esmm": (3e-3, 0.05, 1.0),
        f"{SINGLE} click": (1e-3, 0.05, 1.0),
        f"{SINGLE} conversion": (1e-3, 0.05, 1.0),
        DIRECT: (1e-3, 0.05, 1.0),
    },
}


def labels(rows: Rows, tasks: int) -> np.ndarray:
    """Return the labels [rows, tasks] of click, conversion given a click, and perhaps both."""
    given = np.where(rows.click > 0, rows.conversion, np.float32(np.nan))
    return np.stack([rows.click, given, rows.conversion][:tasks], 1)


def settings(point: Point, seed: int, quick: bool) -> TrainingSettings:
    """Return how all networks are trained at a point of the grid."""
    rate, penalty, _ = point
    return TrainingSettings(
        learning_rate=rate,
        embedding_l2=penalty,
        batch_size=512,
        max_epochs=1 if quick else 15,
        patience=2,
        monitor="log_loss",
        seed=seed,
        device="cpu",
        precision="float32",
    )


def fit(
    network: Network,
    train_rows: tuple[Rows, np.ndarray],
    valid_rows: tuple[Rows, np.ndarray],
    objective: Objective,
    how: TrainingSettings,
) -> Network:
    """Train a network from the base rates."""
    rows, label = train_rows
    ones, known = np.nansum(label, 0), (~np.isnan(label)).sum(0)
    start_at(network, [log_odds(a, n - a) for a, n in zip(ones, known, strict=True)])
    train(
        network,
        TaskFeed(rows, label, how.batch_size, how.seed),
        TaskFeed(*valid_rows, 8192, how.seed),
        how,
        loss=objective.loss(network),
    )
    return network


def single(log: Log, task: int, point: Point, seed: int, quick: bool) -> Network:
    """Train the network of one task, of the third directly, on the rows whose label is known."""
    config = {"hidden_layers": [*TRUNK, *TOWER], "dropout": 0.1, "batch_norm": False}
    network = build_network("dnn", log.inputs, config, seed)
    parts = []
    for rows in (log.train, log.valid):
        label = labels(rows, 3)[:, task]
        found = np.flatnonzero(~np.isnan(label))
        parts.append((rows.take(found), label[found, None]))
    return fit(network, *parts, Objective(), settings(point, seed, quick))


def several(log: Log, system: str, point: Point, seed: int, quick: bool) -> Network:
    """Train a network of both tasks."""
    name, weighting = SYSTEMS[system]
    tasks = ["click", "conversion", "ctcvr"][: 3 if name == "esmm" else 2]
    config = {"hidden_layers": TRUNK, "tower_layers": TOWER, "dropout": 0.1, "tasks": tasks}
    network = build_network(name, log.inputs, config, seed)
    weights = [1.0, 0.0, point[2]] if name == "esmm" else [1.0, point[2]]
    options = {"weights": weights, "weighting": weighting, "seed": seed}
    parts = [(rows, labels(rows, len(tasks))) for rows in (log.train, log.valid)]
    objective = Objective((TermSettings("tasks", options=options),))
    return fit(network, *parts, objective, settings(point, seed, quick))


def logits_of(network: Network, rows: Rows) -> np.ndarray:
    """Return the logits float64 [rows, tasks] of a trained network."""
    feed = TaskFeed(rows, np.zeros((len(rows.click), 1), np.float32), 8192, 0)
    with torch.inference_mode():
        found = [network(batch.ids, batch.numeric) for batch in feed.in_order()]
    return torch.cat(found).double().numpy()


def figures(click: np.ndarray, conversion: np.ndarray, rows: Rows) -> dict[str, dict[str, float]]:
    """Figures of logits of both tasks by what is true of the rows, by what is predicted."""
    both = -np.logaddexp.reduce([-click, -conversion, -click - conversion])
    clicked = rows.click > 0
    found = {
        "click": scores(rows.p_click, click),
        "conversion of clicks": scores(rows.p_conversion[clicked], conversion[clicked]),
        "ctcvr": scores(ctcvr(rows), both),
    }
    if not np.isnan(rows.p_conversion).any():
        found["conversion"] = scores(rows.p_conversion, conversion)
    return found


def ctcvr(rows: Rows) -> np.ndarray:
    """Return what is true of a click and a conversion, float64."""
    return np.where(rows.p_click > 0, rows.p_click * rows.p_conversion, 0.0)


def baseline(log: Log, system: str, seed: int, quick: bool) -> np.ndarray:
    """Return the logits float64 [rows, 2] of a rate or a logistic regression for each task."""
    fitted = [labels(rows, 2) for rows in (log.train, log.valid)]
    label = np.concatenate(fitted)
    columns = []
    for task in range(2):
        known = np.flatnonzero(~np.isnan(label[:, task]))
        ones = label[known, task]
        if system == CONSTANT:
            odds = log_odds(float(ones.sum()), float(len(ones) - ones.sum()))
            columns.append(np.full(len(log.test.click), odds))
            continue
        rows = pd.concat([frame_of(log, part) for part in (log.train, log.valid)]).iloc[known]
        wanted = frame_of(log, log.test)
        columns.append(linear(rows.assign(label=ones), wanted.assign(label=np.nan), quick, seed)[1])
    return np.stack(columns, 1)


def frame_of(log: Log, rows: Rows) -> pd.DataFrame:
    """Return what `benchmarks.model_zoo_peers` reads: categories, numbers, and their buckets."""
    columns: dict[str, np.ndarray] = {
        table.name: rows.ids[:, c] for c, table in enumerate(log.inputs.tables)
    }
    for c, name in enumerate(log.inputs.numeric):
        edges = np.quantile(log.train.numeric[:, c], np.linspace(0, 1, 21)[1:-1])
        columns[f"{name}_clean"] = rows.numeric[:, c]
        columns[f"{name}_bucket_clean"] = np.searchsorted(edges, rows.numeric[:, c])
    return pd.DataFrame(columns)


def scored(
    log: Log, system: str, points: Sequence[Point], seed: int, quick: bool
) -> dict[str, dict[str, float]]:
    """Train a system, a point for each of its networks, and score it."""
    if system in BASELINES:
        odds = baseline(log, system, seed, quick)
        return figures(odds[:, 0], odds[:, 1], log.test)
    if system == DIRECT:
        found = logits_of(single(log, 2, points[0], seed, quick), log.test)
        return {"ctcvr": scores(ctcvr(log.test), found[:, 0])}
    if system == SINGLE:
        networks = [single(log, task, point, seed, quick) for task, point in enumerate(points)]
    else:
        networks = [several(log, system, points[0], seed, quick)]
    logits = np.concatenate([logits_of(network, log.test) for network in networks], 1)
    return figures(logits[:, 0], logits[:, 1], log.test)


def records(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the figures of all systems and seeds."""
    chosen = CHOSEN[arguments.data]
    for seed in arguments.seeds:
        log = opened(arguments, seed)
        if isinstance(log, str):
            print(f"{arguments.data} is left out: {log}", file=sys.stderr)
            return
        for system in arguments.systems:
            tried = {"": _points(chosen, system)}
            if arguments.tune and system not in BASELINES:
                alone = arguments.quick or system in (SINGLE, DIRECT)
                weights = WEIGHTS[:1] if alone else WEIGHTS
                rates = arguments.rates[:1] if arguments.quick else arguments.rates
                grid = product(rates, (PENALTY,), weights)
                tried = {f", {point}": [point, point] for point in grid}
            for which, points in tried.items():
                found = scored(log, system, points, seed, arguments.quick)
                for case, values in found.items():
                    for metric, value in values.items():
                        yield Record(f"{case}{which}", system, metric, value, "", seed)


def opened(arguments: argparse.Namespace, seed: int) -> Log | str:
    """Open the log of a seed, or say why not."""
    rows = QUICK_ROWS if arguments.quick else arguments.rows
    first = 1000 if arguments.tune else 0
    if arguments.data == DRAWN:
        truth = arguments.conversion_rate, arguments.correlation
        return drawn(arguments.master, rows, first + seed, *truth)
    log = hillstrom(first + seed)
    if isinstance(log, str):
        return log
    if arguments.quick:
        few = np.arange(rows)
        log = Log(log.inputs, *(part.take(few) for part in (log.train, log.valid, log.test)))
    return replace(log, test=log.valid) if arguments.tune else log


def _points(chosen: dict[str, Point], system: str) -> list[Point]:
    if system == SINGLE:
        return [chosen[f"{SINGLE} {task}"] for task in ("click", "conversion")]
    return [] if system in BASELINES else [chosen[system]]


def compared(records: list[Record]) -> str:
    """Return a table of the differences from `SINGLE`, means and standard errors over seeds."""
    values = {(r.case, r.metric, r.system, r.seed): r.value for r in records}
    systems = [s for s in dict.fromkeys(r.system for r in records) if s != SINGLE]
    columns: dict[str, list[str]] = {"case": [], "metric": []} | {s: [] for s in systems}
    for case, metric in dict.fromkeys((r.case, r.metric) for r in records):
        columns["case"].append(case)
        columns["metric"].append(metric)
        for system in systems:
            seeds = [k[3] for k in values if k[:3] == (case, metric, system)]
            differences = np.array(
                [
                    values[case, metric, system, seed] - values[case, metric, SINGLE, seed]
                    for seed in seeds
                    if (case, metric, SINGLE, seed) in values
                ]
            )
            if len(differences) < 2:
                columns[system].append("")
                continue
            error = differences.std(ddof=1) / np.sqrt(len(differences))
            columns[system].append(f"{differences.mean():+.4f} ± {error:.4f}")
    return markdown(columns)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", choices=[DRAWN, HILLSTROM], default=DRAWN)
    parser.add_argument("--rows", type=int, default=ROWS, help="impressions to train on")
    parser.add_argument("--conversion-rate", type=float, default=CONVERSION_RATE)
    parser.add_argument("--correlation", type=float, default=CORRELATION)
    names = [SINGLE, *SYSTEMS]
    choices = [*names, DIRECT, *BASELINES]
    parser.add_argument(
        "--systems", nargs="+", choices=choices, default=names, metavar="SYSTEM", help="%(choices)s"
    )
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3], help="to tune by")
    parser.add_argument("--compare", type=Path, help="records to compare, instead of a run")


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    given = sys.argv[1:] if argv is None else argv
    if "--compare" in given:
        print(compared(read_records(Path(given[given.index("--compare") + 1]))))
        return

    run(records, __doc__ or "", seeds=(0, 1, 2, 3, 4), options=_options, argv=given)


if __name__ == "__main__":
    main()

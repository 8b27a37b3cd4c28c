"""Which columns and values get embedding rows: our rule beside peers, at equal cost.

Embedding dimension, network and training settings are the same for all; the best epoch is chosen
on a tenth of the training rows. Four logs (`benchmarks.selection_logs`): one drawn with useless
columns, Frappe (its training negatives are reconstructed), TalkingData's first 80,000 clicks split
by time (184 conversions in all, so its AUC says little), and the bundled Adult data, numbers taken
as values too.

``rows``: embedding rows are cut to a share of the distinct values. Ours is `select_columns` with
the label information (``spark_ctr``); ``counts only`` is the same rule without it; ``min-count`` is
the smallest count which all columns' private values must reach, so that they fit the budget;
``count optimum`` gives the budget to the most frequent values of all columns, one by one. The
others keep all columns, ours drops some. With ``ample rows`` ours stops by itself, ``counts only``
takes all values seen twice, and ``min-count`` those seen ten times.

``columns``: every value seen ten times has a private row, and columns are dropped. ``by default``
are as many as our rule keeps, ``best 80 %`` and ``best 50 %`` that share of all: those of the
highest joint share, mutual information (scikit-learn's), or chi-square p-value (from scikit-learn's
statistic). ``time per row`` is that of the network's forward pass on one thread.

``planted``: precision and recall of the useless columns that were planted. Ours and the chi-square
test at 1 % decide how many are useless, mutual information is told.

``clicks`` (not among the default logs): see `benchmarks.selection_clicks`.

"... minus ..." compares two systems seed by seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from scipy.stats import chi2 as chi2_law

from benchmarks.array_feed import ArrayFeed
from benchmarks.frame import OURS, Record, run
from benchmarks.model_zoo import scores
from benchmarks.selection_clicks import EPOCHS, WORLDS, measure_clicks
from benchmarks.selection_logs import Log, adult, frappe, planted, talking_data
from benchmarks.selection_plans import Counted, Plan
from spark_ctr.estimator.serving_time import microseconds_per_row
from spark_ctr.networks import Inputs, Network, Table, build_network
from spark_ctr.power_law import ColumnStats, select_columns
from spark_ctr.training import TrainingSettings, predict, train

try:
    from sklearn.feature_selection import chi2, mutual_info_classif
    from sklearn.preprocessing import OneHotEncoder
except ImportError as error:
    sys.exit(f"benchmarks.selection needs scikit-learn for its peers ({error}): install it")

DIM = 8
NETWORK = {"hidden_layers": [64, 32], "dropout": 0.1, "batch_norm": False}
SHARES = (0.01, 0.03, 0.1)
AMPLE = 10**9
TYPICAL = 10  # count that is often required of a value of Criteo's log
COUNTS, MIN_COUNT, OPTIMUM = "counts only", "min-count", "count optimum"
MUTUAL, CHI, EVERY = "mutual information", "chi-square", "all columns"
LOGS = ("planted", "frappe", "talkingdata", "adult")
CLICKS = "clicks"


def network_of(log: Log, plan: Plan, seed: int) -> Network:
    """Return the untrained network of a plan."""
    tables = [Table(log.columns[c], 2 + len(v), DIM) for c, v in plan.private.items()]
    return build_network("dnn", Inputs(tuple(tables), ()), NETWORK, seed)


def quality(log: Log, plan: Plan, seed: int, epochs: int) -> dict[str, float]:
    """Train, choosing the epoch on a tenth of the training rows, and score the test rows."""
    network = network_of(log, plan, seed)
    order = np.random.default_rng(seed).permutation(len(log.train))
    ids, tenth = plan.ids(log.train), len(order) // 10
    settings = TrainingSettings(
        max_epochs=epochs,
        patience=2,
        embedding_l2=0.0,
        average_weights=False,
        monitor="log_loss",
        recalibrate=False,
        seed=seed,
        device="cpu",
    )
    feeds = [
        ArrayFeed(ids[p], log.train_label[p], 1024, seed) for p in (order[tenth:], order[:tenth])
    ]
    train(network, feeds[0], feeds[1], settings)
    found = predict(network, ArrayFeed(plan.ids(log.test), log.test_label, 8192, seed))
    return scores(*found.of_task()[:2])


def _records(
    case: str, found: dict[str, dict[str, float]], peers: list[str], seed: int
) -> Iterator[Record]:
    units = {"time per row": "µs", "rows": "rows"}
    for system, metrics in found.items():
        for metric, value in metrics.items():
            yield Record(case, system, metric, value, units.get(metric, ""), seed)
    for peer in peers:
        difference = found[OURS]["auc"] - found[peer]["auc"]
        yield Record(f"{case}: minus {peer}", OURS, "auc", difference, "", seed)


def measure_rows(name: str, counted: Counted, seed: int, epochs: int) -> Iterator[Record]:
    """Quality at equal embedding rows."""
    log = counted.log
    alone = [ColumnStats(s.name, s.histogram, s.missing, s.fit, s.relevance) for s in counted.stats]
    for share in SHARES:
        budget = max(int(share * log.distinct), 3 * len(log.columns))
        plans = {
            OURS: counted.decided(select_columns(counted.stats, budget)),
            COUNTS: counted.decided(select_columns(alone, budget)),
            MIN_COUNT: counted.min_count(budget),
            OPTIMUM: counted.optimum(budget),
        }
        found = {
            system: quality(log, plan, seed, epochs) | {"rows": plan.rows}
            for system, plan in plans.items()
        }
        yield from _records(f"{name}, {share:.0%} of rows", found, list(plans)[1:], seed)
    plans = {
        OURS: counted.decided(select_columns(counted.stats, AMPLE)),
        COUNTS: counted.decided(select_columns(alone, AMPLE)),
        MIN_COUNT: counted.at_least(TYPICAL),
    }
    found = {
        system: quality(log, plan, seed, epochs) | {"rows": plan.rows}
        for system, plan in plans.items()
    }
    yield from _records(f"{name}, ample rows", found, list(plans)[1:], seed)


def dropped(counted: Counted) -> set[str]:
    """Columns that our rule drops whatever the budget."""
    decisions = select_columns(counted.stats, AMPLE)
    return {d.name for d in decisions if d.decision == "drop"}


def ranking(counted: Counted) -> dict[str, list[int]]:
    """Positions of the columns, best first, by each system."""
    log, useless = counted.log, dropped(counted)
    mutual = mutual_info_classif(log.train, log.train_label, discrete_features=True)
    scores: dict[str, list[tuple[float, ...]]] = {
        OURS: [
            (s.name not in useless, s.joint.share, -s.joint.p_value)
            for s in counted.stats
            if s.joint is not None
        ],
        MUTUAL: [(value,) for value in mutual],
        CHI: [(-p,) for p in log_p_values(counted)],
    }
    return {
        system: sorted(range(len(log.columns)), key=score.__getitem__, reverse=True)
        for system, score in scores.items()
    }


def log_p_values(counted: Counted) -> list[float]:
    """Logarithm of each column's chi-square p-value."""
    found = []
    for codes, counts in zip(counted.log.train.T, counted.counts, strict=True):
        one_hot = OneHotEncoder().fit_transform(codes[:, None])
        # summed over a column's indicators, scikit-learn's statistics are Pearson's of its table
        statistic = chi2(one_hot, counted.log.train_label)[0].sum()
        found.append(float(chi2_law.logsf(statistic, max(len(counts) - 1, 1))))
    return found


def measure_columns(name: str, counted: Counted, seed: int, epochs: int) -> Iterator[Record]:
    """Quality and cost when whole columns are dropped."""
    log, ranks = counted.log, ranking(counted)
    number = len(log.columns)
    found: dict[tuple[int, ...], dict[str, float]] = {}  # by columns, as systems often agree
    for what, size in {
        "by default": number - len(dropped(counted)),
        "best 80 %": round(0.8 * number),
        "best 50 %": round(0.5 * number),
    }.items():
        kept = {EVERY: list(range(number))}
        kept |= {system: sorted(order[:size]) for system, order in ranks.items()}
        for columns in kept.values():
            if tuple(columns) not in found:
                plan = counted.at_least(TYPICAL, columns)
                costs = {"columns": len(columns), "rows": plan.rows}
                found[tuple(columns)] = quality(log, plan, seed, epochs) | costs
        taken = times(counted, kept, seed)
        by_system = {
            system: found[tuple(columns)] | {"time per row": taken[system]}
            for system, columns in kept.items()
        }
        yield from _records(f"{name}, columns {what}", by_system, [EVERY, MUTUAL, CHI], seed)


def times(counted: Counted, kept: dict[str, list[int]], seed: int) -> dict[str, float]:
    """Microseconds a row of the networks that read these columns, taking turns."""
    log = counted.log
    ids = counted.at_least(TYPICAL).ids(log.test[:32_768])

    def predictor(columns: list[int]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        network = network_of(log, counted.at_least(TYPICAL, columns), seed)

        def forward(batch: np.ndarray, numeric: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                rows = torch.from_numpy(batch[:, columns])
                return network(rows, torch.from_numpy(numeric)).numpy()

        return forward

    predictors = {system: predictor(columns) for system, columns in kept.items()}
    return microseconds_per_row(predictors, ids, np.zeros((len(ids), 0), np.float32))


def measure_planted(name: str, counted: Counted, seed: int) -> Iterator[Record]:
    """Precision and recall of the planted useless columns."""
    log, ranks = counted.log, ranking(counted)
    p_values = dict(zip(log.columns, log_p_values(counted), strict=True))
    worst = ranks[MUTUAL][-len(log.useless) :]
    called = {
        OURS: dropped(counted),
        CHI: {column for column, p in p_values.items() if p > np.log(0.01)},
        MUTUAL: {log.columns[c] for c in worst},
    }
    for system, columns in called.items():
        hits = len(columns & log.useless)
        yield Record(name, system, "precision", hits / max(len(columns), 1), "", seed)
        yield Record(name, system, "recall", hits / len(log.useless), "", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure all logs, seed by seed."""
    quick = arguments.quick
    rows, epochs = (10_000, 1) if quick else (100_000, 12)
    makers: dict[str, Callable[[int], Log | str]] = {
        "planted": partial(planted, rows=rows),
        "frappe": lambda seed: frappe(),
        "talkingdata": lambda seed: talking_data(),
        "adult": lambda seed: adult(),
    }
    seeds = arguments.seeds[:1] if quick else arguments.seeds
    if CLICKS in arguments.logs:
        size, most = (20_000, 1) if quick else (arguments.rows, EPOCHS)
        worlds, truths = arguments.worlds, arguments.truths
        yield from measure_clicks(arguments.master, size, worlds, truths, seeds, most)
    for seed in seeds:
        for name in (name for name in arguments.logs if name != CLICKS):
            log = makers[name](seed)
            if isinstance(log, str):
                print(f"{name} is left out: {log}", file=sys.stderr)
                continue
            counted = Counted(log.first(rows) if quick else log, seed)
            yield from measure_rows(name, counted, seed, epochs)
            yield from measure_columns(name, counted, seed, epochs)
            if log.useless:
                yield from measure_planted(f"{name}: useless columns", counted, seed)
                in_threes = Counted(planted(seed, rows, in_threes=True), seed)
                case = f"{name}: useless columns, some tell in threes only"
                yield from measure_planted(case, in_threes, seed)


def _options(parser: argparse.ArgumentParser) -> None:
    logs, worlds = [*LOGS, CLICKS], list(WORLDS)
    parser.add_argument("--logs", nargs="+", choices=logs, default=list(LOGS), metavar="LOG")
    parser.add_argument("--worlds", nargs="+", choices=worlds, default=worlds, metavar="WORLD")
    parser.add_argument("--rows", type=int, default=200_000, help="of a log of clicks")
    parser.add_argument("--truths", type=int, nargs="+", default=[0, 1], help="logs of a world")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

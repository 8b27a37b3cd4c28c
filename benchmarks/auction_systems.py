"""What the scores of models are worth in an auction: baselines, teacher, students, calibrated.

A drawn log (`benchmarks.auction_log`): in each request eight ads meet, of one user, site, slot and
time, with log-normal bids that say nothing about the probabilities. Models are trained on the first
nine days and choose their epoch on the tenth; calibrators are fitted on clicks of days 11 and 12,
which no model saw; the auctions of days 13 and 14 are held by `AuctionEvaluator` under the true
probabilities, second price, one place. AUC, log loss and calibration are of the same candidates,
by the true probabilities.

``teacher`` is an ensemble of three, ``student`` distilled from it, ``labels`` the same network from
labels, with the settings of `benchmarks.distillation` on its drawn log; ``quantised`` is what
`MixedPrecisionQuantizer` makes of the student by default, ``1 bit, all`` with every layer that can
be in 1 bit. ``logistic regression`` is scikit-learn's, one-hot, of `benchmarks.model_zoo_peers`,
``constant rate`` the rate of the training rows. All of them learn from the same rows.

Welfare and revenue are percent above the true probabilities' in the same auctions, with the bounds
of 95 % intervals of a bootstrap over auctions, means over the seeds; those of pairs of systems are
percent above another system's, with standard errors over seeds. ``reserve`` is the median price
without one. A seed draws another log from the same world. ``--plot FILE`` draws welfare
and revenue. ``--table FILE`` prints the tables of records that ``--json`` wrote.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from scipy.special import expit

from benchmarks.auction_log import Candidates, drawn_auctions
from benchmarks.distillation_systems import LABELS, systems
from benchmarks.distillation_table import error, interval, mean, spread
from benchmarks.frame import OURS, Record, markdown, read_records, run, spark_session
from benchmarks.model_zoo import scores
from benchmarks.model_zoo_logs import Log
from benchmarks.model_zoo_peers import linear
from benchmarks.quantisation import HIDDEN, SYSTEMS, Students
from spark_ctr.auction import AuctionEvaluator, Interval
from spark_ctr.calibration_curves import SlotStatistics, fit_calibration
from spark_ctr.report import draw_comparison
from spark_ctr.training.metrics import log_odds
from spark_ctr.training.precision_context import PRECISIONS

ROWS, QUICK_ROWS = 60_000, 3_000
# The world of benchmarks.distillation whose settings are taken: 5 % clicks.
WORLD, STUDENT_OF_ENSEMBLE = "drawn5", "own ensemble"
TRUE, CONSTANT, LINEAR = "true", "constant rate", "logistic regression"
TEACHER, STUDENT, QUANTISED, ONE_BIT = "teacher", "student", "quantised", "1 bit, all"
BY_SLOT, BY_ADVERTISER = ", calibrated by slot", ", calibrated by advertiser"
# A system, and what it is compared with beside the truth.
PAIRS = (
    (TEACHER, LINEAR),
    (STUDENT, LABELS),
    (STUDENT, TEACHER),
    (QUANTISED, STUDENT),
    (ONE_BIT, STUDENT),
    *((name + BY_SLOT, name) for name in (LINEAR, TEACHER, QUANTISED, ONE_BIT)),
    *((name + BY_ADVERTISER, name) for name in (TEACHER, QUANTISED)),
)
NO_RESERVE, RESERVE = "no reserve", "reserve"
FIGURES = ("welfare", "revenue", "calibrationRatio")


def logits(log: Log, seed: int, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Train all systems; logits float64 of the log's "test", by system."""
    assert log.raw_train is not None and log.raw_test is not None
    rows = len(log.test.label)
    clicks = float(log.train.label.sum())
    found = {CONSTANT: np.full(rows, log_odds(clicks, len(log.train.label) - clicks))}
    found[LINEAR] = linear(log.raw_train, log.raw_test, arguments.quick, seed)[1]
    made = Students(WORLD, log, seed, arguments, STUDENT_OF_ENSEMBLE)
    own = systems(WORLD)[LABELS]
    own = replace(own, params=own.params | {"hiddenLayers": list(arguments.hidden)})
    found[LABELS] = made.bench.student(own)[0].logit
    for name, network in ((TEACHER, made.teacher), (STUDENT, made.student)):
        found[name] = made.bench.scored(network).logit
    found[QUANTISED] = made.logits(made.by_default().predict_logits)
    found[ONE_BIT] = made.logits(made.quantised(SYSTEMS[ONE_BIT])[0].predict_logits)
    return found


def with_calibrated(
    found: Mapping[str, np.ndarray], candidates: Candidates
) -> dict[str, np.ndarray]:
    """Return probabilities float64 of the judged rows, those of `PAIRS` calibrated too."""
    p = {name: expit(logit) for name, logit in found.items()}
    judged, fit = candidates.judged, ~candidates.judged
    scored = {name: score[judged] for name, score in p.items()}
    slots = {BY_SLOT: candidates.slot, BY_ADVERTISER: _codes(candidates.advertiser)}
    for name, raw in PAIRS:
        for how, slot in slots.items():
            if name == raw + how:
                seen = SlotStatistics.of_rows(p[raw][fit], candidates.click[fit], slot[fit])
                scored[name] = fit_calibration(seen)(p[raw][judged], slot[judged])
    return scored


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def in_spark(
    scored: Mapping[str, np.ndarray], candidates: Candidates, master: str, folder: str
) -> DataFrame:
    """Return the judged candidates with a column of scores of each system."""
    judged = candidates.judged
    columns = {
        "auction": candidates.auction[judged],
        "bid": candidates.bid[judged],
        TRUE: candidates.true[judged],
        **scored,
    }
    pq.write_table(pa.table(columns), f"{folder}/candidates.parquet")
    spark = spark_session(master, "spark_ctr auctions")
    return spark.read.parquet(f"{folder}/candidates.parquet").repartition("auction").cache()


def auction_records(held: DataFrame, names: Sequence[str], seed: int) -> Iterator[Record]:
    """Hold the auctions by all scores, without and with a reserve."""
    evaluator = AuctionEvaluator(
        auctionCol="auction", truthCol=TRUE, probabilityCol=TRUE, seed=seed, numResamples=500
    )
    reserve = float(evaluator.winners(held).approxQuantile("price", [0.5], 0.001)[0])
    yield Record("reserve", OURS, "price", reserve, "", seed)
    columns = {name: name for name in (TRUE, *names)}
    for case, least in ((NO_RESERVE, 0.0), (RESERVE, reserve)):
        evaluator.setReserve(least)
        for name, figures in evaluator.compare(held, columns, baseline=TRUE).items():
            for figure in FIGURES:
                found = figures[figure]
                bounds = {"": found.value, ", low": found.low, ", high": found.high}
                for bound, value in bounds.items():
                    yield Record(case, name, f"{figure}{bound}", 100 * value, "%", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Draw, train, calibrate, judge, seed by seed."""
    if arguments.table is not None:
        yield from read_records(arguments.table)
        return
    rows = QUICK_ROWS if arguments.quick else arguments.rows
    for seed in arguments.seeds:
        log, candidates = drawn_auctions(arguments.master, rows, seed)
        scored = with_calibrated(logits(log, seed, arguments), candidates)
        true = candidates.true[candidates.judged]
        for name, p in (scored | {TRUE: true}).items():
            for metric, value in scores(true, np.log(p) - np.log1p(-p)).items():
                yield Record(WORLD, name, metric, value, "", seed)
        with tempfile.TemporaryDirectory() as folder:
            held = in_spark(scored, candidates, arguments.master, folder)
            found = list(auction_records(held, list(scored), seed))
            held.unpersist()
        yield from found


def plot(records: Sequence[Record], file: Path) -> None:
    """Draw welfare and revenue above the truth's, means over seeds, without and with a reserve."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 8.5), layout="constrained")
    rows = drawn.subplots(2, 2, sharey=True)
    for case, panels in zip((NO_RESERVE, RESERVE), rows, strict=True):
        found = above_truth(records, case)
        for axes, figure in zip(panels, FIGURES, strict=False):
            draw_comparison(found, figure, axes)
            axes.set_xlabel(f"{figure}, {case}, % above the true probabilities'")
    drawn.suptitle("Scores of models in second-price auctions (blue: calibrated)")
    drawn.savefig(file, dpi=110)


def above_truth(records: Sequence[Record], case: str) -> dict[str, dict[str, Interval]]:
    """Return figures of each system as shares above the truth's, means over seeds."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if record.case == case:
            values[record.system, record.metric].append(record.value / 100)
    bounds = ("", ", low", ", high")
    return {
        name: {
            figure: Interval(*(fmean(values[name, f"{figure}{bound}"]) for bound in bounds))
            for figure in FIGURES
        }
        for name in dict.fromkeys(name for name, metric in values if metric in FIGURES)
    }


def auction_table(records: Sequence[Record]) -> str:
    """Return the tables in Markdown: all systems above the truth, then pairs of systems.

    The former are means over seeds with the mean bounds of intervals over auctions, the latter
    means with standard errors over seeds.
    """
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        found[record.case, record.system, record.metric].append(record.value)

    def figure(case: str, name: str, metric: str) -> str:
        return interval([found[case, name, f"{metric}{b}"] for b in ("", ", low", ", high")])

    def above(case: str, pair: tuple[str, str], metric: str) -> str:
        one, other = (1 + np.array(found[case, name, metric]) / 100 for name in pair)
        return error(list(100 * (one / other - 1)))

    names = list(dict.fromkeys(name for case, name, _ in found if case == WORLD))
    pairs = [pair for pair in PAIRS if {*pair} <= {*names}]
    systems: dict[str, list[str]] = {
        "system": names,
        "AUC ± sd": [spread(found[WORLD, n, "auc"]) for n in names],
        "log loss ± sd": [spread(found[WORLD, n, "log_loss"]) for n in names],
        "calibration": [mean(found[WORLD, n, "calibration ratio"], "{:.3f}") for n in names],
    }
    between = {"system": [one for one, _ in pairs], "above": [other for _, other in pairs]}
    for case in (NO_RESERVE, RESERVE):
        for metric in FIGURES:
            systems[f"{case}: {metric}, %"] = [figure(case, name, metric) for name in names]
            between[f"{case}: {metric}, % ± se"] = [above(case, pair, metric) for pair in pairs]
    return f"{markdown(systems)}\n\n{markdown(between)}"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="about, to train on")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--hidden", nargs="+", type=int, default=HIDDEN, metavar="WIDTH")
    parser.add_argument("--teachers", type=Path, metavar="FOLDER", help="keep the teachers here")
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the settings'")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of records")
    parser.set_defaults(students=None)


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    files: list[Path] = []

    def measured(arguments: argparse.Namespace) -> Iterator[Record]:
        files.extend(filter(None, [arguments.plot]))
        yield from measure(arguments)

    found = run(measured, __doc__ or "", seeds=range(5), options=_options, argv=argv)
    print("\n" + auction_table(found))
    for file in files:
        plot(found, file)


if __name__ == "__main__":
    main()

"""Which errors of scores cost money in an auction, and what calibration gets back.

Auctions of eight candidates, each of one of 50 campaigns, in one of 20 ad slots an auction; click
probabilities around 3 % (log-odds of standard deviation 1), log-normal bids that say nothing about
them. Scores are the true probabilities with one error each: all times 1.5; log-odds stretched (1.6)
or shrunk (0.6) about their mean; an offset in log-odds a slot, or a campaign, or a row (standard
deviations 0.3, 0.3 and 0.5). Half of the auctions is held by `AuctionEvaluator` with the true
probabilities known; on clicks drawn in the other half `ProbabilityCalibrator` is fitted, of all
rows for errors of all rows, by campaign (``by campaign``) for those of campaigns.

Figures are percent above those of the true probabilities in the same auctions, with 95 % intervals
of a bootstrap over auctions; *reserve* is the median price without one. ``--plot FILE`` draws the
first seed's welfare and revenue.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from benchmarks.frame import OURS, Record, run, spark_session
from spark_ctr.auction import AuctionEvaluator, Interval
from spark_ctr.calibration import ProbabilityCalibrator
from spark_ctr.report import draw_comparison

AUCTIONS, QUICK_AUCTIONS = 100_000, 2_000
ADS, CAMPAIGNS, SLOTS = 8, 50, 20
TRUE = "true"
FACTOR, STRETCHED, SHRUNK = "all times 1.5", "stretched 1.6", "shrunk 0.6"
SLOT, CAMPAIGN, NOISE = "slots 0.3", "campaigns 0.3", "rows 0.5"
# Errors that are calibrated, by campaign or not.
CALIBRATED = {STRETCHED: False, SHRUNK: False, CAMPAIGN: True, NOISE: False}
FIGURES = ("welfare", "revenue", "calibrationRatio")


def draw(auctions: int, seed: int) -> dict[str, np.ndarray]:
    """Draw candidates: columns of a log, and a column of scores for each error."""
    rng = np.random.default_rng(seed)
    rows = auctions * ADS
    auction = np.repeat(np.arange(auctions), ADS)
    campaign = rng.integers(CAMPAIGNS, size=rows)
    slot = np.repeat(rng.integers(SLOTS, size=auctions), ADS)
    mean = -3.8
    logit = rng.normal(mean, 1.0, rows)

    def probability(shown: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-shown))

    true = probability(logit)
    return {
        "auction": auction,
        "slot": slot,
        "campaign": campaign,
        "bid": rng.lognormal(0.0, 0.5, rows),
        "click": (rng.random(rows) < true).astype(np.float64),
        TRUE: true,
        FACTOR: (1.5 * true).clip(0, 1),
        STRETCHED: probability(mean + 1.6 * (logit - mean)),
        SHRUNK: probability(mean + 0.6 * (logit - mean)),
        SLOT: probability(logit + rng.normal(0, 0.3, SLOTS)[slot]),
        CAMPAIGN: probability(logit + rng.normal(0, 0.3, CAMPAIGNS)[campaign]),
        NOISE: probability(logit + rng.normal(0, 0.5, rows)),
    }


def calibrated(data: DataFrame, fit: DataFrame) -> tuple[DataFrame, list[str]]:
    """Add calibrated scores, and return the columns of all scores."""
    scores = [TRUE, FACTOR, STRETCHED, SHRUNK, SLOT, CAMPAIGN, NOISE]
    for error, by_campaign in CALIBRATED.items():
        name = f"{error}, calibrated" + (" by campaign" if by_campaign else "")
        calibrator = ProbabilityCalibrator(
            labelCol="click",
            probabilityCol=error,
            calibratedCol=name,
            calibrationIndicatorCol="fit",
            verbose=False,
        )
        if by_campaign:
            calibrator.setSlotCols(["campaign"])
        data = calibrator.fit(fit).transform(data)
        scores.append(name)
    return data, scores


def compared(
    data: DataFrame, scores: list[str], reserve: float, seed: int
) -> dict[str, dict[str, Interval]]:
    """Hold the auctions by all scores."""
    evaluator = AuctionEvaluator(truthCol=TRUE, reserve=reserve, seed=seed, numResamples=500)
    return evaluator.compare(data, {name: name for name in scores}, baseline=TRUE)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Draw, calibrate on one half, hold the auctions of the other."""
    spark = spark_session(arguments.master, "auction_errors")
    auctions = QUICK_AUCTIONS if arguments.quick else arguments.auctions
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            pq.write_table(pa.table(draw(2 * auctions, seed)), f"{folder}/log.parquet")
            log = spark.read.parquet(f"{folder}/log.parquet")
            fit = log.filter(f"auction >= {auctions}").selectExpr("*", "true as fit")
            held, scores = calibrated(log.filter(f"auction < {auctions}"), fit)
            held = held.cache()
            shown = AuctionEvaluator(truthCol=TRUE, probabilityCol=TRUE).winners(held)
            reserve = float(shown.approxQuantile("price", [0.5], 0.001)[0])
            yield Record("reserve", OURS, "price", reserve, "", seed)
            for case, least in (("no reserve", 0.0), ("reserve", reserve)):
                found = compared(held, scores, least, seed)
                yield from _records(case, found, seed)
                if arguments.plot is not None and least == 0 and seed == arguments.seeds[0]:
                    plot(found, arguments.plot)


def _records(case: str, found: Mapping[str, Mapping[str, Interval]], seed: int) -> Iterator[Record]:
    for name, figures in found.items():
        for figure in FIGURES:
            interval = figures[figure]
            half = 50 * (interval.high - interval.low)
            yield Record(f"{case}: {name}", OURS, figure, 100 * interval.value, "%", seed)
            yield Record(f"{case}: {name}", OURS, f"half interval of {figure}", half, "%", seed)


def plot(found: Mapping[str, Mapping[str, Interval]], file: Path) -> None:
    """Draw welfare and revenue of each score as percent above the truth's."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 4.5), layout="constrained")
    for axes, figure in zip(drawn.subplots(1, 2, sharey=True), ("welfare", "revenue"), strict=True):
        draw_comparison(found, figure, axes)
        axes.set_xlabel(f"{figure}, % above the true probabilities'")
    drawn.suptitle("Errors of scores in second-price auctions (blue: calibrated)")
    drawn.savefig(file, dpi=120)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--auctions", type=int, default=AUCTIONS, help="held, and fitted on")
    parser.add_argument("--plot", type=Path, metavar="FILE")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(3), options=_options)

"""What calibration by slot gains, costs and follows; the true probabilities are known.

``quality``: rows of 300 and of 10,000 Zipf slots (see `benchmarks.calibration_logs`), 200,000 and
1,000,000 to fit on and as many others to score. Log loss and errors are against the true
probabilities. ``raw`` are the scores, ``global isotonic`` and ``isotonic by slot`` scikit-learn's
(slots without both labels take the global one), ``ratio`` and ``spark_ctr`` our slotMethod "ratio"
and "platt". ``mcgrad`` runs where it is installed, with its defaults and the slot as a category.
``best reachable`` knows the world but for the slots' own numbers, of which it takes the posterior.
Time is that of the fit on rows in memory.

``fit``: `ProbabilityCalibrator` on rows that Spark generates (``--rows``, 10,000 slots).
``transform``: it reads 16 million such rows from Parquet, beside a division of two of their columns
and a broadcast join of the slots' offsets and slopes, without the curve; CPU time a row.

``drift``: an hour is 1,000,000 rows of 300 slots whose log-odds rise and fall by 0.5, over a week
(up to 1.9 % an hour) or over a day (13 %); each of 48 hours is scored by what was fitted on the
hours before. ``once`` is the fit of the first hour, ``all hours`` forgets nothing, ``spark_ctr``
has forgetting=0.2. ``--plot FILE`` draws the ratios of the first seed's week.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.calibration_logs import ScoredRows, draw_rows, field_error, log_loss
from benchmarks.frame import OURS, Record, run, spark_session
from benchmarks.measure import PeakMemory, cpu_seconds
from spark_ctr.calibration import ProbabilityCalibrator
from spark_ctr.calibration_curves import SlotStatistics, fit_calibration

PARTS = ("quality", "fit", "transform", "drift")
SIZES = {300: 200_000, 10_000: 1_000_000}
SLOTS, FILE_ROWS, REPEATS = 10_000, 16_000_000, 3
HOURS, HOUR_ROWS, SWING, FORGETTING = 48, 1_000_000, 0.5, 0.2
PERIODS = {"week": 168, "day": 24}


def isotonic(fit: ScoredRows, test: ScoredRows, by_slot: bool) -> np.ndarray:
    """Predictions of scikit-learn's isotonic regression, of all rows or a slot each."""
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(out_of_bounds="clip").fit(fit.score, fit.label).predict(test.score)
    if by_slot:
        for rows, wanted in zip(rows_of_slots(fit), rows_of_slots(test), strict=True):
            if len(np.unique(fit.label[rows])) == 2 and len(wanted):
                own = IsotonicRegression(out_of_bounds="clip").fit(fit.score[rows], fit.label[rows])
                found[wanted] = own.predict(test.score[wanted])
    return found


def rows_of_slots(log: ScoredRows) -> list[np.ndarray]:
    """Places of each slot's rows."""
    order = np.argsort(log.slot, kind="stable")
    return np.split(order, np.searchsorted(log.slot[order], np.arange(1, max(SIZES))))


def mcgrad(fit: ScoredRows, test: ScoredRows) -> np.ndarray:
    """Predictions of mcgrad with its defaults."""
    import pandas as pd
    from mcgrad.methods import MCGrad

    frames = [
        pd.DataFrame({"p": rows.score, "y": rows.label, "slot": rows.slot.astype(str)})
        for rows in (fit, test)
    ]
    model = MCGrad()
    model.fit(frames[0], "p", "y", categorical_feature_column_names=["slot"])
    return model.predict(frames[1], "p", categorical_feature_column_names=["slot"])


def ours(fit: ScoredRows, test: ScoredRows, slot_method: str) -> np.ndarray:
    """Predictions of what ProbabilityCalibrator computes on the driver."""
    statistics = SlotStatistics.of_rows(fit.score, fit.label, fit.slot)
    return fit_calibration(statistics, slot_method=slot_method)(test.score, test.slot)


def quality(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the calibrators beside each other."""
    systems = {
        OURS: lambda fit, test: ours(fit, test, "platt"),
        "ratio": lambda fit, test: ours(fit, test, "ratio"),
        "raw": lambda fit, test: test.score,
        "global isotonic": lambda fit, test: isotonic(fit, test, False),
        "isotonic by slot": lambda fit, test: isotonic(fit, test, True),
    }
    if importlib.util.find_spec("mcgrad") is not None:
        systems["mcgrad"] = mcgrad
    else:
        print("mcgrad is not installed: left out")
    for slots in arguments.slots:
        size = SIZES[slots]
        rows = size // 20 if arguments.quick else size
        case = f"{slots:,} slots"
        for seed in arguments.seeds:
            fit, test = (draw_rows(rows, slots, seed, part) for part in range(2))
            for name, system in systems.items():
                began = time.perf_counter()
                found = system(fit, test)
                taken = time.perf_counter() - began
                yield Record(case, name, "log_loss", log_loss(test.true, found), "", seed)
                for bins in (1, 5):
                    error = field_error(test.true, found, test.slot, bins) * 1e4
                    metric = "Field-ECE x 10,000" if bins == 1 else f"F-ECE@{bins} x 10,000"
                    yield Record(case, name, metric, error, "", seed)
                yield Record(case, name, "fit and score", taken, "s", seed)
            best = log_loss(test.true, test.true)
            yield Record(case, "true probabilities", "log_loss", best, "", seed)


def generated(spark: SparkSession, rows: int, seed: int) -> DataFrame:
    """Rows of Zipf slots whose log-odds are off by the slot's own, made as they are read."""
    number = F.floor(F.exp(F.rand(seed) * math.log(SLOTS)))
    z = F.randn(seed + 1) - 3.9
    drawn = spark.range(rows).select(
        number.alias("number"), z.alias("z"), F.rand(seed + 2).alias("u")
    )
    own = 0.35 * F.sin(F.col("number") * 12.9)
    return drawn.select(
        F.concat(F.lit("slot_"), F.col("number").cast("string")).alias("slot"),
        (1 / (1 + F.exp(-F.col("z")))).alias("score"),
        (F.col("u") + 0.5).alias("other"),
        (F.col("u") < 1 / (1 + F.exp(-(F.col("z") + own)))).cast("int").alias("click"),
    )


def fit_cost(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the fit in Spark."""
    spark = spark_session(arguments.master, "calibration")
    seed, rows = arguments.seeds[0], 200_000 if arguments.quick else arguments.rows
    case = f"fit, {rows / 1e6:g} million rows"
    with PeakMemory() as memory:
        began, used = time.perf_counter(), cpu_seconds()
        model = calibrator().fit(generated(spark, rows, seed))
        yield Record(case, OURS, "time", time.perf_counter() - began, "s", seed)
        yield Record(case, OURS, "CPU time", cpu_seconds() - used, "s", seed)
    yield Record(case, OURS, "peak memory", memory.mebibytes, "MiB", seed)
    yield Record(case, OURS, "slots", float(model._fitted.statistics.slots), "", seed)
    yield Record(
        case, OURS, "cells on the driver", float(len(model._fitted.statistics.bin)), "", seed
    )
    began, used = time.perf_counter(), cpu_seconds()
    generated(spark, rows, seed).write.format("noop").mode("overwrite").save()
    yield Record(case, "rows alone", "time", time.perf_counter() - began, "s", seed)
    yield Record(case, "rows alone", "CPU time", cpu_seconds() - used, "s", seed)


def calibrator() -> ProbabilityCalibrator:
    """Return the stage that is measured."""
    return ProbabilityCalibrator(
        probabilityCol="score", labelCol="click", slotCols=["slot"], verbose=False
    )


def transform_cost(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the transform in Spark."""
    spark = spark_session(arguments.master, "calibration")
    seed, rows = arguments.seeds[0], 100_000 if arguments.quick else FILE_ROWS
    with tempfile.TemporaryDirectory() as folder:
        generated(spark, rows, seed).write.parquet(f"{folder}/rows")
        data = spark.read.parquet(f"{folder}/rows")
        yield from transforms(data, calibrator().fit(data), rows, seed)


def transforms(data: DataFrame, model: object, rows: int, seed: int) -> Iterator[Record]:
    """Measure what a row costs."""
    pairs = F.broadcast(model.slots.select("slot", "offset", "slope"))  # type: ignore[attr-defined]
    z = F.log(F.col("score") / (1 - F.col("score")))
    line = F.coalesce("offset", F.lit(0.0)) + F.coalesce("slope", F.lit(1.0)) * z
    joined = data.join(pairs, "slot", "left").withColumn("r", 1 / (1 + F.exp(-line)))
    systems = {
        "division": data.withColumn("r", F.col("score") / F.col("other")),
        OURS: model.transform(data),  # type: ignore[attr-defined]
        "broadcast join": joined.drop("offset", "slope"),
    }
    for repeat in range(REPEATS + 1):
        for name, out in systems.items():
            used = cpu_seconds()
            out.write.format("noop").mode("overwrite").save()
            if repeat:  # the first warms up
                taken = (cpu_seconds() - used) / rows * 1e6
                yield Record("transform", name, "CPU time a row", taken, "µs", seed)


def drift(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the calibration ratio, hour by hour, against the true probabilities."""
    for name, period in PERIODS.items():
        for seed in arguments.seeds:
            found = hourly(seed, period, arguments.quick)
            for system, ratios in found.items():
                off = np.abs(np.array(ratios) - 1.0) * 100
                case = f"drift of a {name}"
                yield Record(case, system, "off 1, mean of the hours", float(off.mean()), "%", seed)
                yield Record(case, system, "off 1, worst hour", float(off.max()), "%", seed)
                within = float((off <= 2.0).mean()) * 100
                yield Record(case, system, "hours within 2 %", within, "%", seed)
            if name == "week" and seed == arguments.seeds[0] and arguments.plot is not None:
                plot(found, arguments.plot)


def hourly(seed: int, period: int, quick: bool) -> dict[str, list[float]]:
    """Predicted over true clicks of each hour, by what was fitted on those before."""
    hours, rows = (6, 20_000) if quick else (HOURS, HOUR_ROWS)
    seen: dict[str, SlotStatistics] = {}
    found: dict[str, list[float]] = {"once": [], "all hours": [], OURS: []}
    for hour in range(hours + 1):
        shift = SWING * math.sin(2 * math.pi * hour / period)
        now = draw_rows(rows, 300, seed, hour, shift)
        for name, statistics in seen.items():
            p = fit_calibration(statistics)(now.score, now.slot)
            found[name].append(float(p.sum() / now.true.sum()))
        new = SlotStatistics.of_rows(now.score, now.label, now.slot)
        seen = {
            "once": seen.get("once", new),
            "all hours": new.merged(seen["all hours"], 1.0) if seen else new,
            OURS: new.merged(seen[OURS], FORGETTING) if seen else new,
        }
    return found


def plot(ratios: dict[str, list[float]], path: Path) -> None:
    """Draw the calibration ratio of each hour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    ax = figure.add_subplot()
    ax.axhspan(0.98, 1.02, color="#8b9097", alpha=0.2, lw=0, label="within 2 %")
    colours = {"once": "#c2571a", "all hours": "#8b9097", OURS: "#1f5fbf"}
    labels = {"once": "first hour alone", "all hours": "all hours alike", OURS: "forgetting 0.2"}
    for name, values in ratios.items():
        hours = np.arange(1, len(values) + 1)
        ax.plot(hours, values, color=colours[name], lw=1.8, label=labels[name])
    ax.set(
        xlabel="hour", ylabel="predicted / true clicks", title="Refreshed every hour under drift"
    )
    ax.legend(frameon=False, ncols=2)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the parts asked for."""
    parts = {"quality": quality, "fit": fit_cost, "transform": transform_cost, "drift": drift}
    for name in arguments.parts:
        yield from parts[name](arguments)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--slots", type=int, nargs="+", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--rows", type=int, default=100_000_000, help="of the fit in Spark")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the hours of the drift")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

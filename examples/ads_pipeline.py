"""The ads job: a log of auctions in; one pipeline to calibrated scores, and what they are worth.

    python examples/ads_pipeline.py                                      # a generated log
    spark-submit examples/ads_pipeline.py --input log.parquet --auction request_id --bid bid \
        --click click --conversion sale --slot placement --time ts --output out

Rows are candidates of auctions. Fits one Spark ML Pipeline: cleaner, selector, encoder, a student
of clicks and conversions distilled from an ESMM teacher and quantised, and a calibrator by ad slot.
Saves its model, loads it again, scores the latest rows with what was loaded, and holds their
auctions by the scores of each system. Under --output it leaves model/, scored/ (Parquet),
report.json, reliability.png (by slot, before and after calibration) and auction.png, and log/ where
the log was generated. On a cluster, --output must be a URI that all machines share.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.fs
from ctr_pipeline import (
    HELD_OUT,
    environment,
    hold_out_late,
    name_columns,
    read,
    shown_log,
    spark_path,
    step,
)
from matplotlib.figure import Figure
from pyspark.ml import Model, Pipeline, PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import spark_ctr
from spark_ctr.auction import AuctionEvaluator, Interval
from spark_ctr.calibration import ProbabilityCalibrator
from spark_ctr.datasets import ClickLogConfig, Identifier, click_log
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.evaluation import CalibrationEvaluator
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.location import filesystem_of
from spark_ctr.multitask import MultiTaskClassifier
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.report import draw_comparison, draw_reliability, quality
from spark_ctr.report.model_comparison import merged
from spark_ctr.stage.columns import name_key

CONSTANT, TEACHER, STUDENT = "constant rate", "teacher", "student"
QUANTISED, CALIBRATED = "quantised", "quantised, calibrated"
CALIBRATED_COL = "calibratedProbability"
SLOTS_DRAWN, POINTS = 6, 10
# Few enough values to learn from some ten thousand rows; slots differ, and the network reads none.
GENERATED = ClickLogConfig(
    identifiers=(
        Identifier("user_id", 2_000, 0.9, effect=0.5, conversion_effect=0.4),
        Identifier("site_id", 200, 1.2, effect=0.5),
        Identifier("device", 6, 0.8, effect=0.3),
        Identifier(
            "ad_id",
            300,
            1.0,
            effect=0.6,
            conversion_effect=0.6,
            conversion_correlation=0.5,
            of_ad=True,
        ),
        Identifier("advertiser_id", 40, 0.8, effect=0.5, of_ad=True),
        Identifier("category", 30, 0.7, effect=0.3, of_ad=True),
    ),
    click_rate=0.08,
    conversion_rate=0.2,
    slots=6,
    slot_effect=0.6,
    candidates=8,
)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip()]

    data = parser.add_argument_group("data")
    data.add_argument("--input", help="path, URI or catalog table (default: a generated log)")
    data.add_argument("--format", choices=["parquet", "csv", "json", "table"], help="of --input")
    data.add_argument("--rows", type=int, default=60_000, help="candidates of the generated log")
    data.add_argument(
        "--test-fraction", type=float, default=0.3, help="latest rows, to score (%(default)s)"
    )
    data.add_argument(
        "--held-out",
        type=float,
        default=0.2,
        help="latest of the others, to choose epochs and to calibrate on (%(default)s)",
    )
    columns = parser.add_argument_group("columns (features that are not named are inferred)")
    columns.add_argument("--click", default="click", help="0 or 1 (default: %(default)s)")
    columns.add_argument("--conversion", default="conversion", help="0 or 1, of clicks")
    columns.add_argument("--auction", default="request_id", help="candidates of one value meet")
    columns.add_argument("--bid", default="bid", help="for a click")
    columns.add_argument("--slot", default="slot", help="ad slot, to calibrate by: no feature")
    columns.add_argument("--time", default="timestamp", help="orders the rows")
    columns.add_argument("--truth", help="true click probability, of a drawn log")
    columns.add_argument("--categorical", type=names, default=[], help="comma-separated")
    columns.add_argument("--numeric", type=names, default=[], help="comma-separated")
    columns.add_argument(
        "--ignore", type=names, default=[], help="to leave out; '*': all that are not named"
    )
    job = parser.add_argument_group("job")
    job.add_argument("--output", default="build/ads", help="folder or URI (default %(default)s)")
    job.add_argument("--row-budget", type=int, default=1_000_000, help="embedding rows in all")
    job.add_argument("--epochs", type=int, default=10, help="at most, for teacher and student")
    job.add_argument("--reserve", type=float, default=0.0, help="least worth of an ad shown")
    job.add_argument("--seed", type=int, default=42)
    job.add_argument("--traceback", action="store_true", help="of an error, for a bug report")
    arguments = parser.parse_args(words)
    for name in ("test_fraction", "held_out"):
        if not 0 < getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must lie between 0 and 1")
    return arguments


def build_pipeline(arguments: argparse.Namespace, roles: Mapping[str, list[str]]) -> Pipeline:
    """Build the stages; nothing here depends on the data but the columns' names."""
    click, conversion = arguments.click, arguments.conversion
    shared: dict[str, Any] = {
        "labelCols": [click, conversion],
        "validationIndicatorCol": HELD_OUT,
        "maxIter": arguments.epochs,
        "seed": arguments.seed,
    }
    # A packed program has no logarithm for ESMM's product: the student is a network without it.
    teacher = MultiTaskClassifier(network="esmm", hiddenLayers=[200, 200], **shared)
    student = MultiTaskClassifier(
        network="shared_bottom",
        tasks={conversion: {"knownWhen": click}},
        jointTask="ctcvr",
        hiddenLayers=[64, 32],
        dropout=0.0,
        **shared,
    )
    return Pipeline(
        stages=[
            ClickLogCleaner(
                categoricalCols=roles["categorical"],
                numericCols=roles["numeric"],
                timestampCol=arguments.time,
            ),
            PowerLawFeatureSelector(labelCol=click, budget=arguments.row_budget),
            HashedEmbeddingEncoder(seed=arguments.seed, handleInvalid="keep"),
            MixedPrecisionQuantizer(
                classifier=LayerwiseDistiller(teacher=teacher, student=student, recombine=False)
            ),
            ProbabilityCalibrator(
                labelCol=click,
                slotCols=[arguments.slot],
                calibrationIndicatorCol=HELD_OUT,
                calibratedCol=CALIBRATED_COL,
            ),
        ]
    )


def main(words: list[str] | None = None) -> None:
    """Run the job with the command line's words."""
    arguments = parse_arguments(words)
    with shown_log() as warnings:
        run(arguments, warnings)


def run(arguments: argparse.Namespace, warnings: list[str]) -> None:
    """Fit, save, load, score, hold the auctions; ``warnings`` fills while the stages run."""
    spark = spark_ctr.session().config("spark.ui.showConsoleProgress", "false").getOrCreate()
    output, seconds = spark_path(arguments.output), {}
    if arguments.input:
        log = read(spark, arguments.input, arguments.format)
    else:
        arguments.input, arguments.truth = "generated log", "click_probability"
        log = click_log(spark, arguments.rows, seed=arguments.seed, config=GENERATED)
        log.coalesce(4).write.mode("overwrite").parquet(f"{output}/log")
        log = spark.read.parquet(f"{output}/log")
    roles = find_roles(arguments, log)
    rest, test, _ = hold_out_late(log, arguments.time, arguments.test_fraction)
    train = with_held_out(rest, arguments.time, arguments.held_out).persist()

    with step("fitting the pipeline", seconds, "fit"):
        fitted = build_pipeline(arguments, roles).fit(train)
    with step(f"saving under {arguments.output}", seconds, "save"):
        spark_ctr.save(fitted, f"{output}/model", overwrite=True)
    with step("loading the saved model, and scoring the latest rows", seconds, "score"):
        loaded = PipelineModel.load(f"{output}/model")
        outputs = [f"probability_{n}" for n in loaded.stages[-2].taskNames] + [CALIBRATED_COL]
        loaded.transform(test).select(*log.columns, *outputs).write.mode("overwrite").parquet(
            f"{output}/scored"
        )
    with step("comparing the systems", seconds, "evaluate"):
        quantised = loaded.stages[-2]
        student = fitted.stages[-2].fullPrecisionModel
        models = {TEACHER: student.teacher, STUDENT: student, QUANTISED: quantised}
        scored = score(arguments, PipelineModel(loaded.stages[:-2]).transform(test), models)
        scored = loaded.stages[-1].transform(scored.withColumn("probability", F.col(QUANTISED)))
        scored = scored.withColumnRenamed(CALIBRATED_COL, CALIBRATED)
        (rate,) = train.agg(F.avg(F.col(arguments.click).cast("double"))).first()
        scored = scored.withColumn(CONSTANT, F.lit(rate)).persist()
        facts = {name: dict(click_quality(scored, name, arguments.click)) for name in models}
        facts[CALIBRATED] = dict(click_quality(scored, CALIBRATED, arguments.click))
        for name, model in models.items():
            facts[name] |= {"bytes": model.nbytes, "network": network_of(model)}
        facts[CALIBRATED] |= {"bytes": quantised.nbytes}
        slots = reliability(scored, arguments)
        auctions = hold(scored, [CONSTANT, *facts], arguments)
        saved = spark.read.parquet(f"{output}/scored")
        conversions = conversion_quality(saved, arguments)
        scored.unpersist()
    train.unpersist()

    report = {
        "input": arguments.input,
        "models": facts,
        "conversions": conversions,
        "slots": slots,
        "auctions": auctions,
        "warnings": warnings,
        "environment": environment(spark),
        "seconds": seconds,
    }
    save(arguments, report)
    print(f"\n{table(facts, auctions)}\n\nreport and plots: {arguments.output}")


def find_roles(arguments: argparse.Namespace, log: DataFrame) -> dict[str, list[str]]:
    """Role of every column: features are named or inferred, and all said."""
    own = [arguments.conversion, arguments.auction, arguments.bid, arguments.truth]
    own += [arguments.slot]
    key = name_key(log)
    present = {key(name) for name in log.columns}
    for option in ("click", "conversion", "auction", "bid", "slot", "time", "truth"):
        name = getattr(arguments, option)
        if name is not None and key(name) not in present:
            raise ValueError(
                f"no column {name!r}; its columns are {', '.join(log.columns)}: name the right one "
                f"with --{option}"
            )
    words = vars(arguments) | {
        "label": arguments.click,
        "slot": None,
        "weight": None,
        "ignore": [*filter(None, own), *arguments.ignore],
    }
    found = name_columns(argparse.Namespace(**words), log)
    roles = {
        role: [r.column for r in found if r.role == role] for role in ("categorical", "numeric")
    }
    if not roles["categorical"] and not roles["numeric"]:
        raise ValueError("there is no feature column: name some with --categorical or --numeric")
    return roles


def with_held_out(log: DataFrame, time_column: str, fraction: float) -> DataFrame:
    """Mark the latest rows: they choose the epoch, and the calibrator is fitted to them."""
    early, late, _ = hold_out_late(log, time_column, fraction)
    return early.withColumn(HELD_OUT, F.lit(False)).unionByName(
        late.withColumn(HELD_OUT, F.lit(True))
    )


def score(
    arguments: argparse.Namespace, encoded: DataFrame, models: Mapping[str, Model]
) -> DataFrame:
    """Add the click probability of each model under its name."""
    names = [arguments.click, arguments.auction, arguments.bid, arguments.slot, arguments.truth]
    for name, model in models.items():
        scored = model.transform(encoded)
        encoded = scored.select(*encoded.columns, F.col("probability").alias(name))
    return encoded.select(*dict.fromkeys(filter(None, names)), *models)


def click_quality(scored: DataFrame, name: str, label: str) -> Iterator[tuple[str, Any]]:
    """Tell AUC, log loss and calibration ratio of a column of scores."""
    found = quality(
        scored.select(label, F.col(name).alias("rawPrediction"), F.col(name).alias("probability")),
        label,
    )
    for figure in ("auc", "log_loss", "calibration_ratio"):
        yield figure, found[figure]


def conversion_quality(
    scored: DataFrame, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Figures of the quantised student's conversions: of clicks, and of all rows ('ctcvr')."""
    conversion = arguments.conversion
    parts = {conversion: scored.filter(F.col(arguments.click) == 1), "ctcvr": scored}
    return {
        task: dict(click_quality(rows, f"probability_{task}", conversion))
        for task, rows in parts.items()
    }


def reliability(scored: DataFrame, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Reliability of the slots with most rows, before and after calibration."""
    found = {}
    for name in (QUANTISED, CALIBRATED):
        judge = CalibrationEvaluator(
            labelCol=arguments.click, probabilityCol=name, slotCols=[arguments.slot], numBins=400
        )
        for slot in judge.measureSlots(scored)["slots"]:
            found.setdefault(tuple(slot["slot"]), {})[name] = slot
    most = sorted(found.items(), key=lambda item: (-item[1][QUANTISED]["rows"], str(item[0])))
    return [
        {
            "slot": slot[0],
            "rows": values[QUANTISED]["rows"],
            **{
                name: {
                    "calibration_ratio": values[name]["calibrationRatio"],
                    "reliability": merged(values[name]["reliability"], POINTS),
                }
                for name in (QUANTISED, CALIBRATED)
            },
        }
        for slot, values in most
    ]


def hold(
    scored: DataFrame, systems: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Hold the auctions by each system's scores, and compare with the truth, or the teacher."""
    judge = AuctionEvaluator(
        auctionCol=arguments.auction,
        bidCol=arguments.bid,
        labelCol=arguments.click,
        truthCol=arguments.truth,
        reserve=arguments.reserve,
        seed=arguments.seed,
    )
    columns = {name: name for name in systems}
    baseline = TEACHER
    if arguments.truth is not None:
        baseline = "true probabilities"
        columns[baseline] = arguments.truth
    compared = judge.compare(scored, columns, baseline=baseline)
    own = judge.setProbabilityCol(columns[baseline]).figures(scored)
    return {
        "baseline": baseline,
        "auctions": own.auctions,
        "above": {
            name: {figure: vars(found) for figure, found in figures.items()}
            for name, figures in compared.items()
        },
    }


def network_of(model: Any) -> str:
    """Put a model's network into words."""
    layers = "-".join(map(str, model.getHiddenLayers()))
    bits = "8 bits" if hasattr(model, "plan") else "32 bits"
    return f"{model.getNetwork()} {layers}, {bits}"


def table(facts: Mapping[str, Mapping[str, Any]], auctions: Mapping[str, Any]) -> str:
    """Lay the figures out for the terminal."""
    baseline = f"% above {auctions['baseline']}"
    lines = [
        f"{'':24}{'AUC':>8}{'log loss':>10}{'pred/seen':>11}{'bytes':>11}"
        f"   welfare and revenue, {baseline}"
    ]
    for name in dict.fromkeys([*facts, *auctions["above"]]):
        own = facts.get(name, {})
        figures = [
            f"{own['auc']:8.4f}{own['log_loss']:10.4f}{own['calibration_ratio']:11.3f}"
            f"{own['bytes']:11,}"
            if own
            else " " * 40
        ]
        for figure in ("welfare", "revenue"):
            if name in auctions["above"]:
                found = auctions["above"][name][figure]
                low, high = 100 * found["low"], 100 * found["high"]
                figures.append(f"{100 * found['value']:+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append(f"{name:24}{'   '.join(figures)}")
    return "\n".join(lines)


def draw(report: Mapping[str, Any], folder: Path) -> None:
    """Draw reliability by slot, and the auctions."""
    slots = report["slots"][:SLOTS_DRAWN]
    rows = -(-len(slots) // 3)
    figure = Figure(figsize=(3.6 * min(3, len(slots)), 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, min(3, len(slots)), squeeze=False).ravel()
    names = QUANTISED, CALIBRATED
    points = [point for slot in slots for name in names for point in slot[name]["reliability"]]
    top = 1.15 * max(point[of] for point in points for of in ("mean_probability", "rate"))
    for ax, slot in zip(panels, slots, strict=False):
        curves = {
            f"{name} ({slot[name]['calibration_ratio']:.2f})": slot[name]["reliability"]
            for name in names
        }
        draw_reliability(curves, ax)
        ax.set(xscale="linear", yscale="linear", xlim=(0, top), ylim=(0, top))
        ax.set_title(f"slot {slot['slot']}, {slot['rows']:,} rows", fontsize=10, parse_math=False)
        ax.legend(fontsize=7, loc="lower right", title="predicted / seen clicks", title_fontsize=7)
    for ax in panels[len(slots) :]:
        ax.set_axis_off()
    figure.supxlabel("predicted click probability", fontsize=10)
    figure.supylabel("observed click rate", fontsize=10)
    figure.savefig(folder / "reliability.png", dpi=110)

    auctions = report["auctions"]
    above = {
        name: {figure: Interval(**found) for figure, found in figures.items()}
        for name, figures in auctions["above"].items()
    }
    figure = Figure(figsize=(9, 1.4 + 0.4 * len(above)), layout="constrained")
    for ax, what in zip(figure.subplots(1, 2, sharey=True), ("welfare", "revenue"), strict=True):
        draw_comparison(above, what, ax)
        ax.set_xlabel(f"{what}, % above {auctions['baseline']}")
    figure.suptitle(f"{auctions['auctions']:,} second-price auctions, 95 % intervals", fontsize=11)
    figure.savefig(folder / "auction.png", dpi=110)


def save(arguments: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Write the report and the plots, locally or to where the URI says."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        draw(report, Path(folder))
        filesystem, path, _ = filesystem_of(spark_path(arguments.output))
        pyarrow.fs.copy_files(folder, path, destination_filesystem=filesystem)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, TypeError, RuntimeError) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"ads_pipeline: {error}")

"""The main job: a click log in; distilled, quantised click-through-rate scores and a report out.

    python examples/ctr_pipeline.py                                     # the bundled Adult data
    spark-submit examples/ctr_pipeline.py --input clicks.parquet --label click --output out
    spark-submit examples/ctr_pipeline.py --input db.clicks --time ts --slot position --output out

Fits one Spark ML Pipeline, saves its model, loads it again and scores the test rows with what was
loaded. Under --output it leaves model/, teacher/ and student/ (for comparison), scored/ (Parquet),
report.html and report.json. On a cluster, --output must be a URI that all machines share.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.fs
import pyspark
import torch
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import spark_ctr
from spark_ctr.classification import CTRClassifier
from spark_ctr.datasets import bundled_path
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.feature import (
    ClickLogCleaner,
    ColumnRole,
    HashedEmbeddingEncoder,
    PowerLawFeatureSelector,
    infer_roles,
    read_time,
)
from spark_ctr.location import filesystem_of
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.report import (
    constant_rate,
    format_table,
    leak_warnings,
    loss_warnings,
    quality,
    selection_figures,
    serving_times,
    slot_calibration,
    write_report,
)
from spark_ctr.stage.columns import column
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.labels import click_label, label_values, unusual_labels

HELD_OUT = "held_out_for_validation"
LABEL = "label_0_or_1"
ROLES = ("label", "categorical", "numeric", "time", "weight")

logger = logging.getLogger("spark_ctr")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip()]

    data = parser.add_argument_group("data")
    data.add_argument("--input", help="path, URI or catalog table (default: the bundled Adult)")
    data.add_argument("--test-input", help="test rows; without it a part of --input is held out")
    data.add_argument(
        "--format",
        choices=["parquet", "csv", "json", "table"],
        help="of --input (default: by its ending; a name without one or a slash is a table)",
    )
    data.add_argument("--split", choices=["random", "time"], help="default: time, if there is one")
    data.add_argument("--test-fraction", type=float, default=0.2, help="default %(default)s")
    columns = parser.add_argument_group("columns (those not named are inferred)")
    columns.add_argument("--label", help="whether the row was clicked: two values")
    columns.add_argument(
        "--positive", help="value of the label that is a click (default: 1, true, yes and the like)"
    )
    columns.add_argument("--categorical", type=names, default=[], help="comma-separated")
    columns.add_argument("--numeric", type=names, default=[], help="comma-separated")
    columns.add_argument("--slot", help="ad slot: a feature, and calibration is reported by it")
    columns.add_argument("--time", help="timestamp: gives hour and weekday and orders the split")
    columns.add_argument("--weight", help="weight of each row in training")
    columns.add_argument(
        "--ignore", type=names, default=[], help="to leave out; '*': all that are not named"
    )
    job = parser.add_argument_group("job")
    job.add_argument("--output", default="build/demo", help="folder or URI (default %(default)s)")
    job.add_argument("--row-budget", type=int, default=1_000_000, help="embedding rows in all")
    job.add_argument("--epochs", type=int, default=20, help="at most, for teacher and student")
    job.add_argument("--max-bytes", type=int, help="of the quantised weights; chooses 1-bit layers")
    job.add_argument(
        "--target-latency", type=float, help="µs a row of the quantised network, on one thread"
    )
    job.add_argument(
        "--coarse-share",
        type=float,
        default=0.0,
        help="of a table's look-ups, that its rows of 4 bits may have (default: no such rows)",
    )
    job.add_argument("--seed", type=int, default=42)
    job.add_argument("--traceback", action="store_true", help="of an error, for a bug report")
    arguments = parser.parse_args(words)
    if not 0 < arguments.test_fraction < 1:
        parser.error("--test-fraction must lie between 0 and 1")
    if arguments.split == "time" and arguments.test_input:
        parser.error("--split and --test-input exclude each other")
    return arguments


def read(spark: SparkSession, source: str, kind: str | None) -> DataFrame:
    """Read a path or a table; the format follows from the ending if it is not named."""
    stem = source.lower().removesuffix(".gz").rstrip("/")
    if kind is None:
        endings = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"}
        by_ending = next((k for ending, k in endings.items() if stem.endswith(ending)), None)
        is_path = "/" in source or stem.endswith(".parquet") or Path(source).exists()
        kind = by_ending or ("parquet" if is_path else "table")
    if kind == "table":
        return spark.table(source)
    if kind == "csv":
        separator = "\t" if stem.endswith(".tsv") else ","
        return spark.read.csv(source, header=True, inferSchema=True, sep=separator)
    return spark.read.format(kind).load(source)


def name_columns(arguments: argparse.Namespace, log: DataFrame) -> list[ColumnRole]:
    """Role of every column: named on the command line, or inferred and explained."""
    named: dict[str, str] = {}
    for role, columns in (
        ("label", [arguments.label]),
        ("categorical", [*arguments.categorical, arguments.slot]),
        ("numeric", arguments.numeric),
        ("time", [arguments.time]),
        ("weight", [arguments.weight]),
    ):
        for name in filter(None, columns):
            if named.setdefault(name, role) != role:
                raise ValueError(f"column {name!r} is named as {named[name]} and as {role}")
    roles = infer_roles(log, named, arguments.ignore)
    width = max(len(role.column) for role in roles)
    say("columns:")
    for role in roles:
        say(f"  {role.column:{width}}  {role.role:11}  {role.reason}")
    return roles


def hold_out_late(
    log: DataFrame, time_column: str, fraction: float
) -> tuple[DataFrame, DataFrame, int]:
    """Hold out the latest rows; also counts the rows without a time, which stay in training."""
    moment = F.unix_micros(read_time(log, time_column))
    cut, rows, timed = log.agg(
        F.percentile_approx(moment, 1 - fraction, 100_000), F.count(F.lit(1)), F.count(moment)
    ).first()
    if rows and not timed:
        raise ValueError(
            f"no row has a readable time in {time_column!r}: name another column with --time, or "
            "let --split random draw the test rows"
        )
    late = F.coalesce(moment > F.lit(cut), F.lit(False))
    return log.filter(~late), log.filter(late), rows - timed


def hold_out_random(
    log: DataFrame, columns: list[str], fraction: float, seed: int
) -> tuple[DataFrame, DataFrame]:
    """Hold out rows drawn by a hash of the row.

    So the draw depends neither on partitions nor on the cluster, and equal rows stay together.
    """
    steps = 1_000_000
    hashed = F.xxhash64(*[column(name).cast("string") for name in columns], F.lit(seed))
    drawn = F.pmod(hashed, F.lit(steps)) < int(fraction * steps)
    return log.filter(~drawn), log.filter(drawn)


def split(
    arguments: argparse.Namespace, log: DataFrame, columns: list[str], moment: str | None
) -> tuple[DataFrame, DataFrame]:
    """Hold out test rows, and say by what."""
    fraction = arguments.test_fraction
    if moment is None:
        why = "as asked" if arguments.split == "random" else "as no column gives the time"
        say(f"split: {fraction:.0%} of the rows are drawn for the test, {why}")
        return hold_out_random(log, columns, fraction, arguments.seed)
    early, late, timeless = hold_out_late(log, moment, fraction)
    say(f"split: the latest {fraction:.0%} of the rows by {moment!r} are test rows")
    if timeless:
        logger.warning(
            f"{counted(timeless, 'row')} without a readable time in {moment!r} cannot be test "
            "rows: they are trained on, without hour and weekday"
        )
    return early, late


def build_pipeline(
    arguments: argparse.Namespace, roles: dict[str, list[str]], validation: bool
) -> Pipeline:
    """Build the five stages; nothing here depends on the data but the columns' names."""
    cleaner = ClickLogCleaner(
        categoricalCols=roles["categorical"],
        numericCols=roles["numeric"],
        timestampCol=next(iter(roles["time"]), None),
    )
    selector = PowerLawFeatureSelector(labelCol=LABEL, budget=arguments.row_budget)
    encoder = HashedEmbeddingEncoder(seed=arguments.seed, handleInvalid="keep")
    shared: dict[str, Any] = {
        "labelCol": LABEL,
        "weightCol": next(iter(roles["weight"]), None),
        "validationIndicatorCol": HELD_OUT if validation else None,
        "maxIter": arguments.epochs,
        "seed": arguments.seed,
    }
    teacher = CTRClassifier(network="dcnv2", hiddenLayers=[400, 400], **shared)
    student = CTRClassifier(network="dnn", hiddenLayers=[128, 128, 64], dropout=0.0, **shared)
    return Pipeline(
        stages=[
            cleaner,
            selector,
            encoder,
            MixedPrecisionQuantizer(
                classifier=LayerwiseDistiller(teacher=teacher, student=student),
                maxBytes=arguments.max_bytes,
                targetLatency=arguments.target_latency,
                coarseShare=arguments.coarse_share,
            ),
        ]
    )


def main(words: list[str] | None = None) -> None:
    """Run the job with the command line's words."""
    arguments = parse_arguments(words)
    with shown_log() as warnings:
        run(arguments, warnings)


def run(arguments: argparse.Namespace, warnings: list[str]) -> None:
    """Fit, save, load, score, compare; ``warnings`` fills while the stages run."""
    spark = spark_ctr.session().config("spark.ui.showConsoleProgress", "false").getOrCreate()
    output, seconds = spark_path(arguments.output), {}
    if arguments.input:
        log = read(spark, arguments.input, arguments.format)
        test = arguments.test_input and read(spark, arguments.test_input, arguments.format)
    else:
        arguments.input, arguments.label = "Adult (bundled)", arguments.label or "income"
        log, test = (
            read(spark, f"file://{bundled_path('adult', s)}", "parquet") for s in ("train", "test")
        )
    names = log.columns
    found = name_columns(arguments, log)
    roles = {role: [r.column for r in found if r.role == role] for role in ROLES}
    label = roles["label"][0]
    if not roles["categorical"] and not roles["numeric"]:
        raise ValueError("there is no feature column: name some with --categorical or --numeric")
    positive = find_positive(log, label, arguments.positive)
    log = with_label(log, label, positive)
    moment = next(iter(roles["time"]), None) if arguments.split != "random" else None
    if arguments.split == "time" and moment is None:
        raise ValueError("--split time needs a time column: name it with --time")
    features = roles["categorical"] + roles["numeric"]
    train = log
    if test is None:
        train, test = split(arguments, log, [*features, label], moment)
    else:
        test = with_label(test, label, positive)
    ordered = moment is not None
    if ordered:  # the best epoch is chosen on the latest training rows, as the test rows are later
        early, late, _ = hold_out_late(train, moment, 0.1)
        train = early.withColumn(HELD_OUT, F.lit(False)).unionByName(
            late.withColumn(HELD_OUT, F.lit(True))
        )
    data = count_rows(train, test) | {"input": arguments.input, "label": label}

    with step("fitting the pipeline", seconds, "fit"):
        fitted = build_pipeline(arguments, roles, ordered).fit(train)
    cleaner, selector, encoder, quantised = fitted.stages
    student = quantised.fullPrecisionModel
    models = {"teacher": student.teacher, "student": student, "quantised": quantised}
    for row in cleaner.report.collect():
        if row["invalid"]:
            words = f"{row['invalid']:,} of {counted(row['rows'], 'value')}"
            say(f"  {row['column']}: {words} could not be read and count as missing")
    for warning in leak_warnings(selector):
        logger.warning(warning)

    with step(f"saving under {arguments.output}", seconds, "save"):
        saved = {"model": fitted, "teacher": student.teacher, "student": student}
        for name, model in saved.items():
            spark_ctr.save(model, f"{output}/{name}", overwrite=True)
    with step("loading the saved model", seconds, "load"):
        loaded = PipelineModel.load(f"{output}/model")
    with step(f"scoring {data['test_rows']:,} test rows", seconds, "score"):
        scored = loaded.transform(test)
        predictions = ["rawPrediction", "probability", "prediction"]
        scored.select([column(n) for n in names + predictions]).write.mode("overwrite").parquet(
            f"{output}/scored"
        )
    with step("comparing teacher, student and quantised student", seconds, "evaluate"):
        encoded = PipelineModel(loaded.stages[:-1]).transform(test).persist()
        models["quantised"] = loaded.stages[-1]
        times = serving_times(encoded, models)
        facts = {}
        for name, model in models.items():
            rows = model.transform(encoded).select(LABEL, "rawPrediction", "probability").persist()
            facts[name] = quality(rows, LABEL) | {
                "bytes": model.nbytes,
                "microseconds_per_row": times[name],
                "description": describe(model),
            }
            rows.unpersist()
        constant = constant_rate(train, test, LABEL)
        for warning in loss_warnings(facts, constant):  # the report finds them by itself
            say(f"warning: {warning}")
        slots = slot_calibration(scored, arguments.slot, LABEL) if arguments.slot else {}
        encoded.unpersist()

    report = {
        "title": f"Click-through-rate model of {arguments.input}",
        "data": data | {"warnings": warnings},
        "models": facts,
        "constant": constant,
        "slots": slots,
        "cleaning": [row.asDict() for row in cleaner.report.collect()],
        "selection": selector.decisions,
        "tables": encoder.tables,
        "training": {n: m.summary.history for n, m in models.items()},
        "quantisation": quantised.summary.extra,
        "environment": environment(spark),
        "seconds": seconds,
        "columns": [vars(role) for role in found],
    }
    save_report(arguments.output, report, selection_figures(selector))
    print(f"\n{format_table(report)}\n\nreport: {arguments.output}/report.html")


def find_positive(log: DataFrame, label: str, named: str | None) -> str | None:
    """Find out, and say, which value of the label is a click."""
    values = label_values(log, label)
    positive = named or values.positive
    if positive is None:
        unusual = unusual_labels(log, label, None)
        if unusual:
            raise ValueError(f"{unusual} (on the command line: --positive)")
    else:
        say(f"label {label!r}: {positive!r} is a click; its values are {values}")
    return positive


def with_label(log: DataFrame, label: str, positive: str | None) -> DataFrame:
    """Add the label as 0.0 and 1.0 under a name of its own."""
    return log.withColumn(LABEL, click_label(log, label, positive, "ctr_pipeline"))


def count_rows(train: DataFrame, test: DataFrame) -> dict[str, Any]:
    """Count rows and clicks of both parts."""
    (train_rows, train_clicks), (test_rows, test_clicks) = (
        part.agg(F.count(F.lit(1)), F.coalesce(F.sum(LABEL), F.lit(0.0))).first()
        for part in (train, test)
    )
    if not train_rows or not test_rows:
        raise ValueError(f"{train_rows} training and {test_rows} test rows: both must have some")
    rows, clicks = train_rows + test_rows, int(train_clicks + test_clicks)
    return {
        "rows": rows,
        "train_rows": train_rows,
        "test_rows": test_rows,
        "positive_rate": clicks / rows,
    }


def describe(model: Any) -> str:
    """Put a model's network into words."""
    if hasattr(model, "plan"):
        kinds = list(model.plan.values())
        return (
            f"{counted(kinds.count('int8'), 'layer')} of 8 bits, {kinds.count('binary')} of 1 bit"
        )
    layers = "-".join(map(str, model.getHiddenLayers()))
    return f"{model.getNetwork()} {layers}, 32 bits"


def environment(spark: SparkSession) -> dict[str, str]:
    """Versions of what ran."""
    return {
        "spark_ctr": spark_ctr.__version__,
        "Spark": spark.version,
        "pyspark": pyspark.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }


def spark_path(output: str) -> str:
    """URI of the output: Spark would look for a plain path on the cluster's file system."""
    return output.rstrip("/") if "://" in output else f"file://{Path(output).absolute()}"


def save_report(output: str, report: dict[str, Any], figures: list[tuple[str, str]]) -> None:
    """Write the two report files, locally or to where the URI says."""
    with tempfile.TemporaryDirectory() as folder:
        write_report(f"{folder}/report.html", f"{folder}/report.json", report, figures)
        filesystem, path, _ = filesystem_of(spark_path(output))
        pyarrow.fs.copy_files(folder, path, destination_filesystem=filesystem)


_started = time.monotonic()


def say(line: str) -> None:
    """Write a line of progress to standard error."""
    print(f"[{time.monotonic() - _started:5.0f} s] {line}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str, seconds: dict[str, float], name: str) -> Iterator[None]:
    """Announce a step and keep its duration."""
    say(title)
    began = time.monotonic()
    yield
    seconds[name] = time.monotonic() - began


@contextmanager
def shown_log() -> Iterator[list[str]]:
    """Show what the stages log; gives the list that their warnings are added to."""
    warnings: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.levelno < logging.WARNING:
                say(text)
            elif text not in warnings:
                say(f"warning: {text}")
                warnings.append(text)

    handler, level = Handler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield warnings
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


if __name__ == "__main__":
    try:
        main()
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # what is wrong with the input, and the way out
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"ctr_pipeline: {error}")

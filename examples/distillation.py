"""A student of recent rows taught by a model that saw more: verdict, and the map of its layers.

Usage: python examples/distillation.py [--rows N] [--history N] [--epochs N] [--output FOLDER]

The log is generated, so that nothing has to be downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from pyspark.ml import Pipeline

import spark_ctr
from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.evaluation import CalibrationEvaluator
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, PowerLawFeatureSelector
from spark_ctr.networks import Network


def draw_layers(student: CTRClassificationModel, path: Path) -> None:
    """Draw the layers of a student and its teacher, and which follows which."""
    networks = student.torchNetwork, student.teacher.torchNetwork
    stacks = [_stack(network) for network in networks]
    axes = Figure(figsize=(7.2, 3.6), layout="constrained").subplots()
    tallest = max(len(stack) for stack in stacks)
    for x, stack, title in zip((1.0, 0.0), stacks, ("student", "teacher"), strict=True):
        for i, (name, width) in enumerate(stack):
            text = f"{name}\n{width}"
            y = i * (tallest - 1) / (len(stack) - 1)
            box = {"boxstyle": "round,pad=0.4", "fc": "#eaf1f7", "ec": "#2b6ca3"}
            axes.text(x, y, text, ha="center", va="center", bbox=box, fontsize=9)
        axes.text(x, tallest - 0.35, title, ha="center", fontsize=11, color="#3a3d42")
    ends = {name: i for i, (name, _) in enumerate(stacks[0])}
    starts = {name: i for i, (name, _) in enumerate(stacks[1])}
    pairs = {"embeddings": "embeddings", **student.summary.extra["layers"], "logit": "logit"}
    for own, followed in pairs.items():
        heights = [
            index[name] * (tallest - 1) / (len(index) - 1)
            for name, index in ((followed, starts), (own, ends))
        ]
        arrow = {"arrowstyle": "->", "color": "#e08a1e", "lw": 1.5}
        axes.annotate("", (0.8, heights[1]), (0.2, heights[0]), arrowprops=arrow)
    axes.set(xlim=(-0.35, 1.35), ylim=(-0.5, tallest))
    axes.axis("off")
    axes.figure.savefig(path, dpi=110)


def _stack(network: Network) -> list[tuple[str, str]]:
    """Names and widths of a network's layers, from the embeddings to the logit."""
    members = network.config.get("members", 1)
    times = f"{members} x " if members > 1 else ""
    hidden = [
        (f"hidden_{i}", f"{times}{width} units")
        for i, width in enumerate(network.config["hidden_layers"])
    ]
    embedded = f"{times}{network.inputs.embedded_width} columns"
    return [("embeddings", embedded), *hidden, ("logit", f"{times}1")]


def main() -> None:
    """Train a teacher on all rows and a student on the latest, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--history", type=int, default=300_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("build/distillation"))
    arguments = parser.parse_args()
    spark = spark_ctr.session().config("spark.ui.showConsoleProgress", "false").getOrCreate()
    config = ClickLogConfig(click_rate=0.05)
    history, recent, coming = (
        click_log(spark, rows, seed=seed, config=config)
        for rows, seed in ((arguments.history, 1), (arguments.rows, 2), (arguments.rows, 3))
    )
    identifiers = [*(column.name for column in config.identifiers), "slot"]
    cleaner = ClickLogCleaner(
        categoricalCols=identifiers, numericCols=[column.name for column in config.numerics]
    )
    selector = PowerLawFeatureSelector(labelCol="click")
    features = Pipeline(stages=[cleaner, selector, HashedEmbeddingEncoder()]).fit(history)
    common = {"labelCol": "click", "network": "dnn", "maxIter": arguments.epochs, "device": "cpu"}
    teacher = CTRClassifier(hiddenLayers=[400, 400, 400], **common).fit(features.transform(history))
    student = CTRClassifier(hiddenLayers=[64, 32], embeddingDim=8, **common)
    model = LayerwiseDistiller(teacher=teacher, student=student, start="layers").fit(
        features.transform(recent)
    )

    evaluator = CalibrationEvaluator(labelCol="click", metricName="logLoss")
    scored = features.transform(coming)
    for name, one in (("teacher", teacher), ("student", model)):
        print(f"log loss of coming rows, {name}: {evaluator.evaluate(one.transform(scored)):.4f}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    draw_layers(model, arguments.output / "layer_map.png")
    print(f"map of the layers in {arguments.output}")
    spark.stop()


if __name__ == "__main__":
    main()

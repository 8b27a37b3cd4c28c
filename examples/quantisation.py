"""Plans of quantisation on the bundled Adult data: their front, drawn, and the one taken.

Usage: python examples/quantisation.py [--hidden N N N] [--epochs N] [--max-bytes N]
       [--target-latency MICROSECONDS] [--output FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from pyspark.ml import Pipeline

import spark_ctr
from spark_ctr.classification import CTRClassifier
from spark_ctr.datasets import adult
from spark_ctr.feature import ClickLogCleaner, HashedEmbeddingEncoder, infer_roles
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.report import draw_front


def main() -> None:
    """Train a network, quantise it within targets, and draw the plans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 512, 256, 128])
    parser.add_argument("--epochs", type=int, default=10, help="of training, and of fine-tuning")
    parser.add_argument("--max-bytes", type=int)
    parser.add_argument("--target-latency", type=float)
    parser.add_argument("--output", type=Path, default=Path("build/quantisation"))
    arguments = parser.parse_args()
    spark = spark_ctr.session().config("spark.ui.showConsoleProgress", "false").getOrCreate()
    log = adult(spark)
    roles = {role.column: role.role for role in infer_roles(log, {"income": "label"})}
    cleaner = ClickLogCleaner(
        categoricalCols=[name for name, role in roles.items() if role == "categorical"],
        numericCols=[name for name, role in roles.items() if role == "numeric"],
    )
    classifier = CTRClassifier(
        labelCol="income",
        network="dnn",
        hiddenLayers=arguments.hidden,
        maxIter=arguments.epochs,
        device="cpu",
    )
    quantizer = MixedPrecisionQuantizer(
        classifier=classifier,
        maxIter=arguments.epochs,
        maxBytes=arguments.max_bytes,
        targetLatency=arguments.target_latency,
    )
    if arguments.max_bytes is None and arguments.target_latency is None:
        quantizer.setMaxBytes(10**9)  # which every plan meets, so that all are measured
    stages = [cleaner, HashedEmbeddingEncoder(), quantizer]
    model = Pipeline(stages=stages).fit(log).stages[-1]

    for line in model.summary.extra["attempts"]:
        print(line)
    axes = Figure(figsize=(7.4, 4.8), layout="constrained").subplots()
    draw_front(model.summary.extra["front"], axes)
    arguments.output.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(arguments.output / "front.png", dpi=110)
    print(f"front in {arguments.output}")
    spark.stop()


if __name__ == "__main__":
    main()

"""Which columns and values of a click log earn embedding rows: report and two plots.

Usage: python examples/feature_selection.py [--rows N] [--budget ROWS] [--output FOLDER]

The log is generated, so that nothing has to be downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spark_ctr
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.feature import HashedEmbeddingEncoder, PowerLawFeatureSelector

SHOWN = ["column", "distinct", "alpha", "xmin", "p_value", "heaps_beta", "unseen_share"]
DECIDED = ["column", "relevance", "joint_relevance", "partner", "decision", "cut", "private_rows"]


def main() -> None:
    """Fit the selector, print its report, draw its plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("build/feature_selection"))
    arguments = parser.parse_args()
    spark = spark_ctr.session().config("spark.ui.showConsoleProgress", "false").getOrCreate()
    config = ClickLogConfig()
    columns = [column.name for column in config.identifiers] + [n for n, _ in config.constants]
    log = click_log(spark, arguments.rows, seed=1)
    model = PowerLawFeatureSelector(
        inputCols=["request_id", *columns],
        labelCol="click",
        budget=arguments.budget,
        orderCol="timestamp",
    ).fit(log)
    report = model.report.toPandas()
    print(report[SHOWN].to_string(index=False, float_format="%.3g"))
    print(report[DECIDED].to_string(index=False, float_format="%.2g"))
    for line in (report["column"] + ": " + report["reason"]).to_list():
        print(line)

    arguments.output.mkdir(parents=True, exist_ok=True)
    hardest = report.loc[report[report["decision"] != "drop"]["distinct"].idxmax(), "column"]
    model.plotCCDF(hardest).figure.savefig(arguments.output / "ccdf.png")
    model.plotBudget().figure.savefig(arguments.output / "budget.png")
    print(f"plots in {arguments.output}")

    encoder = HashedEmbeddingEncoder(numericCols=[]).fit(model.transform(log))
    encoder.report.show(truncate=False)
    spark.stop()


if __name__ == "__main__":
    main()

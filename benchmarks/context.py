"""Embeddings and hidden layers enhanced by context, against the same networks without.

``drawn``: a log whose columns mean more or less, or the opposite, for clicks in each of 12 domains
(`spark_ctr.datasets.ContextEffect`), scored by the true probabilities; the context is the domain.
``adult``: the official split; the context is the relationship. ``frappe``: official valid rows are
scored; the context is all but user and item. A tenth of the training rows chooses the epoch, and
settings; rows that are scored choose nothing.

Systems are ``dnn`` and ``dcnv2`` of 128 and 64 units, and ``dnn wider``, which takes longer than
any block, all plain or with ``contextEnhancement``. ``--tune`` prints the log loss on the rows
that choose the epoch at each of ``--rates``, on draws and splits that no other run reports (seeds
from 1000 on); what it chose stands in `RATES`. Times are of a row on one thread, scored in batches
of 8,192: float32, and packed in 8 bits. ``--compare`` prints, of records that ``--json`` wrote,
each system's differences from its network without context, with standard errors over seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame import Record, markdown, read_records, run
from benchmarks.model_zoo import CHOOSING, built, fitted
from benchmarks.model_zoo_logs import Log, adult_log, drawn, frappe
from spark_ctr.datasets import ClickLogConfig, ContextEffect, Identifier, Numeric
from spark_ctr.estimator.serving_time import microseconds_per_row
from spark_ctr.networks.layers.context import ENHANCEMENTS
from spark_ctr.networks.serialization import predictor_of
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers

ROWS, QUICK_ROWS = 30_000, 2_000
TIMED_ROWS = 8192 * 2
LAYERS = [128, 64]
PLAIN: dict[str, dict[str, Any]] = {
    "dnn": {"network": "dnn", "hiddenLayers": LAYERS},
    "dnn wider": {"network": "dnn", "hiddenLayers": [512, 128]},
    "dcnv2": {"network": "dcnv2", "hiddenLayers": LAYERS, "crossLayers": 2},
}
BLOCKS = (*ENHANCEMENTS, "ppnet", "pepnet")
SYSTEMS: dict[str, dict[str, Any]] = PLAIN | {
    f"{network}, {block}": PLAIN[network] | {"contextEnhancement": block}
    for network, block in (*(("dnn", block) for block in BLOCKS), ("dcnv2", "pepnet"))
}
CONTEXT = {
    "drawn": ["domain"],
    "adult": ["relationship"],
    "frappe": [
        *("daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
    ],
}
# Of each log, what differs from the defaults of CTRClassifier for all systems.
OF_LOG: dict[str, dict[str, Any]] = {
    "drawn": {},
    "adult": {},
    "frappe": {"batchSize": 4096, "embeddingRegularization": 0.05, "learningRateDecay": 0.1},
}
# Learning rates that `--tune` chose of 0.0005, 0.001, 0.002, on the drawn log also 0.004 and 0.008;
# where none stands here it is the default of CTRClassifier, 0.001.
RATES: dict[str, dict[str, float]] = {
    "drawn": {
        **dict.fromkeys(SYSTEMS, 4e-3),
        "dcnv2": 2e-3,
        "dnn, senet": 8e-3,
        "dcnv2, pepnet": 8e-3,
    },
    "adult": {
        **dict.fromkeys(SYSTEMS, 2e-3),
        "dcnv2": 1e-3,
        "dnn, senet": 1e-3,
        "dnn, epnet": 1e-3,
    },
    "frappe": {},
}


def world() -> ClickLogConfig:
    """Return a world of domains in which all columns weigh differently."""
    columns = {"user_id": 0.5, "ad_id": 0.6, "advertiser_id": 0.4, "category": 0.4, "device": 0.3}
    sizes = {
        "user_id": (5_000, 0.9),
        "ad_id": (500, 1.1),
        "advertiser_id": (100, 1.0),
        "category": (30, 0.7),
        "device": (6, 0.8),
    }
    return ClickLogConfig(
        identifiers=(
            Identifier("domain", 12, 0.7, effect=0.3),
            *(Identifier(name, *sizes[name], effect=effect) for name, effect in columns.items()),
        ),
        numerics=(Numeric("price", 20.0, 0.8, -0.4, log_normal=True, minimum=0.01),),
        interactions=(),
        constants=(),
        contexts=tuple(ContextEffect("domain", name, 1.0) for name in (*columns, "price")),
        click_rate=0.1,
    )


def opened(name: str, arguments: argparse.Namespace, seed: int) -> Log | str:
    """Return a log, of its own draw for each seed where it is drawn, or why it is missing."""
    if name == "drawn":
        rows = QUICK_ROWS if arguments.quick else arguments.rows
        return drawn(arguments.master, rows, config=world(), first_seed=10 * seed)
    log = adult_log(arguments.master) if name == "adult" else frappe()
    # Rows that are scored choose no epoch.
    return log if isinstance(log, str) else replace(log, valid=None)


def context_of(name: str, log: Log) -> list[str]:
    """Return the columns of a log that are the context, as the network has them."""
    known = [*(table.name for table in log.inputs.tables), *log.inputs.numeric]
    found = [k for k in known if k.removesuffix("_clean") in CONTEXT[name]]
    if not found:
        raise ValueError(f"{name} has none of the columns {CONTEXT[name]}, but {known}")
    return found


def params_of(name: str, system: str, log: Log, rate: float | None = None) -> dict[str, Any]:
    """Return the Params of a system's classifier."""
    params = OF_LOG[name] | SYSTEMS[system]
    chosen = rate or RATES[name].get(system)
    if chosen is not None:
        params["learningRate"] = chosen
    if "contextEnhancement" in params:
        params["contextCols"] = context_of(name, log)
    return params


def times(name: str, log: Log, arguments: argparse.Namespace) -> Iterator[Record]:
    """Time a row of each system, float32 and packed."""
    rows = np.arange(256 if arguments.quick else TIMED_ROWS) % len(log.test.label)
    some = log.test.take(rows)
    timed = {}
    for system in arguments.systems:
        network, _ = built(log, params_of(name, system, log), 0, arguments)
        plan = dict.fromkeys(quantisable_layers(network), "int8")
        packed = pack_network(prepare(network, plan).eval())
        timed[f"{system}|float32"] = predictor_of(network)
        timed[f"{system}|8 bits"] = packed.predict_logits
        weights = sum(p.numel() for p in network.parameters())
        tables = sum(w.weight.numel() for w in network.embedding.weights)
        yield Record(f"{name}: weights", system, "beside the tables", weights - tables, "", 0)
    for which, value in microseconds_per_row(timed, some.ids, some.numeric).items():
        system, kind = which.split("|")
        yield Record(f"{name}: a row, {kind}", system, "time", value, "us", 0)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Train and score all systems, seed by seed."""
    for name in arguments.data:
        for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
            seed = seed + 1000 if arguments.tune else seed
            log = opened(name, arguments, seed)
            if isinstance(log, str):
                print(f"{name} is left out: {log}", file=sys.stderr)
                break
            log = log.first(QUICK_ROWS) if arguments.quick else log
            if seed == arguments.seeds[0] and arguments.times != "none":
                yield from times(name, log, arguments)
            if arguments.times == "only":
                continue
            for system in arguments.systems:
                for rate in arguments.rates if arguments.tune else [arguments.rate]:
                    found = fitted(log, params_of(name, system, log, rate), seed, arguments)
                    if arguments.tune:
                        case, value = f"{name} at {rate:g}{CHOOSING}", found.best["valid_loss"]
                        yield Record(case, system, "log_loss", value, "", seed)
                        continue
                    for metric, value in found.figures.items():
                        yield Record(name, system, metric, value, "", seed)


def compared(records: list[Record]) -> str:
    """Return the differences of each system from its network without context."""
    values = {(r.case, r.metric, r.system, r.seed): r.value for r in records}
    cases = dict.fromkeys((r.case, r.metric) for r in records if r.metric in ("auc", "log_loss"))
    rows: dict[str, list[str]] = {"system": []} | {f"{c}, {m}": [] for c, m in cases}
    for system in dict.fromkeys(r.system for r in records if ", " in r.system):
        rows["system"].append(system)
        for case, metric in cases:
            plain = system.split(", ")[0]
            differences = np.array(
                [
                    value - values[case, metric, plain, key[3]]
                    for key, value in values.items()
                    if key[:3] == (case, metric, system)
                ]
            )
            error = differences.std(ddof=1) / np.sqrt(len(differences))
            rows[f"{case}, {metric}"].append(f"{differences.mean():+.4f} ± {error:.4f}")
    return markdown(rows)


def _options(parser: argparse.ArgumentParser) -> None:
    logs, systems = list(CONTEXT), list(SYSTEMS)
    parser.add_argument("--data", nargs="+", choices=logs, default=logs, metavar="LOG")
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, metavar="SYSTEM")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the drawn log to train on")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3])
    parser.add_argument("--rate", type=float, help="of all systems, instead of RATES")
    parser.add_argument("--times", choices=["also", "only", "none"], default="also")
    parser.add_argument("--compare", type=Path, help="records to compare, instead of a run")
    parser.set_defaults(precision="float32", epochs=None)


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    given = sys.argv[1:] if argv is None else argv
    if "--compare" in given:
        print(compared(read_records(Path(given[given.index("--compare") + 1]))))
        return
    run(measure, __doc__ or "", seeds=range(5), options=_options, argv=given)


if __name__ == "__main__":
    main()

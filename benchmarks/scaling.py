"""Time and memory of a fit through Spark as rows and workers grow, on one machine.

`CTRClassifier.fit` trains one epoch of a small DCNv2 (hidden layers 128 and 64, two cross layers,
batches of 8,192) on nine categorical columns of dimension 16 and four numeric ones of
`benchmarks.throughput_log`, read from Parquet, on ``local-cluster[2,1,2048]`` unless ``--cluster``
says otherwise. ``time of fit`` holds all: writing the training files, starting workers, the epoch,
validation on 2 % of the rows. ``training`` is the rows a second of the epoch alone. ``peak memory``
is that of the driver, the JVMs and all workers, ``of the training`` that of the (first) process
that trains. The shuffle buffer holds 500,000 rows, whatever the log.

``1 process, 1 thread`` trains in the driver with one thread of torch, ``2 threads`` with two;
``2 workers`` are two Spark tasks of one thread each. Every fit runs in a new process; the share of
time that growing rows take more than in proportion is printed as ``time a row, growth``.

``--profile`` trains without Spark instead, and prints for each part of a step what it takes of each
process: CPU time of the thread that trains, wall-clock time (the rest of it is waiting, for other
ranks and for other programs on the same cores), messages, and what the process put into them. Two
networks with the classifier's defaults, batches of 8,192 in all: ``small``, the above, and
``DCNv2``, [400, 400, 400] and three cross layers on 26 columns of 957,000 rows in all and 13
numeric ones. The second of two epochs is profiled; what is done at its end is counted in its steps.
``40 million rows`` is ``small`` with four tables of 10 million rows. ``resident memory`` is that of
a process after its last epoch, ``peak memory`` that of all it did.

``--kills N`` kills one of two workers N times, in the parts of a step and of a checkpoint in turn
and in either process, starts both again each time, and compares with a training without kills.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import Record, in_new_process, run, spark_session
from benchmarks.measure import PeakMemory, seconds
from benchmarks.scaling_kills import kills
from benchmarks.scaling_profile import CASES, SYSTEMS, profiles
from benchmarks.throughput_log import DIM, TABLES, write_log
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Table
from spark_ctr.stage.columns import with_metadata

PEER = "1 process, 1 thread"
MASTER = "local-cluster[2,1,2048]"
COLUMNS, NUMERIC = range(0, 26, 3), range(4)
BATCH, BUFFER = 8192, 500_000


def encoded(spark: SparkSession, folder: str) -> DataFrame:
    """Read a log as HashedEmbeddingEncoder would give it."""
    tables = [Table(f"c{i}", TABLES[i], DIM).to_dict() for i in COLUMNS]
    ids = F.array(*(F.col(f"c{i}") for i in COLUMNS))
    numbers = F.array(*(F.col(f"n{i}") for i in NUMERIC))
    return spark.read.parquet(folder).select(
        with_metadata(ids, "categoricalFeatures", {"tables": tables}),
        with_metadata(numbers, "numericFeatures", {"names": [f"n{i}" for i in NUMERIC]}),
        "label",
    )


def fit(
    system: str, folder: str, rows: int, batch: int, master: str, seed: int
) -> Iterator[Record]:
    """Fit once."""
    workers, threads = SYSTEMS[system]
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Executors of local-cluster start elsewhere.
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    torch.set_num_threads(threads)
    spark = spark_session(
        master, "scaling", {"spark.executor.memory": "1g", "spark.log.level": "OFF"}
    )
    with tempfile.TemporaryDirectory() as cache:
        classifier = CTRClassifier(
            hiddenLayers=[128, 64],
            batchSize=batch,
            maxIter=1,
            validationFraction=0.02,
            shuffleBufferRows=BUFFER,
            numWorkers=workers,
            cacheDir=cache,
            device="cpu",
            seed=seed,
            verbose=False,
        )
        dataset = encoded(spark, folder)
        found = []
        with PeakMemory() as memory:
            (taken,) = seconds(lambda: found.append(classifier.fit(dataset)))
    (epoch,) = found[0].summary.history["epochs"]
    spark.stop()
    case = f"{rows:,} rows"
    yield Record(case, system, "time of fit", taken, "s", seed)
    yield Record(case, system, "time a row", 1e6 * taken / rows, "µs", seed)
    speed = epoch["rows_per_second"] / 1e3
    yield Record(case, system, "training", speed, "thousand rows/s", seed)
    yield Record(case, system, "waiting for data", 100 * epoch["data_wait_share"], "%", seed)
    yield Record(case, system, "peak memory", memory.mebibytes, "MiB", seed)
    of_it = epoch["peak_memory"] / 2**20
    yield Record(case, system, "peak memory, of the training", of_it, "MiB", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the records of all fits, and how they grow from the fewest rows to the most."""
    batch = 1024 if arguments.quick else BATCH
    if arguments.kills:
        for seed in arguments.seeds:
            yield from kills(arguments.kills, seed)
        return
    if arguments.profile:
        steps = 2 if arguments.quick else arguments.steps
        for seed in arguments.seeds:
            yield from profiles(arguments.cases, arguments.systems, steps, batch, seed)
        return
    all_rows = (20_000,) if arguments.quick else arguments.rows
    for seed in arguments.seeds:
        found: dict[tuple[str, str], list[float]] = {}
        for rows in all_rows:
            with tempfile.TemporaryDirectory() as folder:
                write_log(Path(folder) / "log", rows, seed)
                for system in arguments.systems:
                    settings = (system, f"{folder}/log", rows, batch, arguments.cluster, seed)
                    for record in in_new_process(fit, *settings):
                        found.setdefault((system, record.metric), []).append(record.value)
                        yield record
        case = f"{all_rows[0]:,} to {all_rows[-1]:,} rows"
        for (system, metric), values in found.items():
            if metric in ("time a row", "peak memory") and len(values) > 1:
                growth = 100 * (values[-1] / values[0] - 1)
                yield Record(case, system, f"{metric}, growth", growth, "%", seed)


def _options(parser: argparse.ArgumentParser) -> None:
    millions = [1_000_000, 2_000_000, 4_000_000, 8_000_000]
    parser.add_argument("--rows", nargs="+", type=int, default=millions)
    parser.add_argument("--cluster", default=MASTER, help="Spark master (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS)[:3])
    parser.add_argument("--profile", action="store_true", help="of parts of a step, without Spark")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES)[:2], help="of it")
    parser.add_argument("--kills", type=int, default=0, help="of a worker, without Spark")
    parser.add_argument("--steps", type=int, default=20, help="of an epoch of it")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=PEER, options=_options)

"""Quality against the size of the embedding tables, by hashing scheme.

The embedding rows of a network are cut to a tenth, a hundredth and a thousandth of what one row
for every value of the training part takes (``uncompressed``). Rows go to the columns in proportion
to their distinct values, dimension, network and training settings are the same for all schemes.
The columns of the table are these sizes; a scheme's ``size`` is the bytes of its tables.

Without a head every value is hashed: to one row (``modulo``), to the mean of two (``double``), to
a remainder's and a quotient's row (``quotient-remainder``); ``signed`` counts rows by the sign of
the hash, ``shared`` hashes all columns into one table. With a head, half of each column's rows (or
90 %) are private to its most frequent values and the others are hashed into the rest, or all share
one row (``one tail row``, with a head of all the other rows).

Two logs: `zipf_log` with about ten million distinct values, whose best reachable AUC is printed as
``best reachable``, and TalkingData's first 80,000 clicks (five columns, split by time), which are
few: 182 conversions, 26 of them in the test rows.

"... minus ..." compares two schemes seed by seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.array_feed import ArrayFeed
from benchmarks.frame import Record, run
from benchmarks.hashing_logs import Log, talking_data, zipf_log
from spark_ctr.hashing import TailHash, Vocabulary
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.training import TrainingSettings, predict, train
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc

DIM = 8
# Chosen for the uncompressed table and modulo at 10x, on a log of another seed (rates 0.01, 0.03)
# and on the last fifth of TalkingData's training part (0.001, 0.003, 0.01; 1, 3, 6 epochs).
SYNTHETIC = TrainingSettings(
    learning_rate=0.03,
    batch_size=32_768,
    max_epochs=1,
    embedding_l2=0.0,
    average_weights=False,
    recalibrate=False,
    seed=0,
    device="cpu",
)
TALKING_DATA = replace(SYNTHETIC, learning_rate=0.01, batch_size=1024, max_epochs=3)
HIDDEN = [32]
COMPRESSIONS = (10, 100, 1000)
UNCOMPRESSED, BEST = "uncompressed", "best reachable"


@dataclass(frozen=True)
class Scheme:
    """How values become rows.

    Attributes
    ----------
    name : str
    tail : str
        Scheme of the hashed values.
    signed, shared : bool
    head : float
        Share of a column's rows that are private.
    """

    name: str
    tail: str
    signed: bool = False
    shared: bool = False
    head: float = 0.0


_HASHED = (
    Scheme("modulo", "modulo"),
    Scheme("modulo, signed", "modulo", signed=True),
    Scheme("modulo, shared", "modulo", shared=True),
    Scheme("double", "double"),
    Scheme("double, signed", "double", signed=True),
    Scheme("double, shared", "double", shared=True),
    Scheme("quotient-remainder", "quotient_remainder"),
)
_WITH_HEAD = (
    Scheme("head + one tail row", "modulo", head=1.0),
    Scheme("head + modulo", "modulo", head=0.5),
    Scheme("head + double", "double", head=0.5),
    Scheme("head + double, signed", "double", signed=True, head=0.5),
    Scheme("head + double, shared", "double", shared=True, head=0.5),
    Scheme("head + quotient-remainder", "quotient_remainder", head=0.5),
    Scheme("90 % head + double", "double", head=0.9),
)
SCHEMES = _HASHED + _WITH_HEAD
_TAILS = [scheme.name for scheme in _WITH_HEAD if scheme.head == 0.5]
# Schemes that are compared seed by seed: each group with its first, and other tails with modulo's.
PAIRS = [
    *((scheme.name, group[0].name) for group in (_HASHED, _WITH_HEAD) for scheme in group[1:]),
    *((name, _TAILS[0]) for name in _TAILS[1:]),
]


def encoded(log: Log, scheme: Scheme, rows: int, seed: int) -> tuple[Inputs, np.ndarray]:
    """Turn a log's values into ids under a scheme of so many embedding rows in all."""
    sizes = [max(4, rows * n // sum(log.distinct)) for n in log.distinct]
    heads = [
        int(min(scheme.head * size, size - 2, n))
        for size, n in zip(sizes, log.distinct, strict=True)
    ]
    ends = np.cumsum([1 + head for head in heads])
    tables, ids = [], []
    for c, (size, head, end) in enumerate(zip(sizes, heads, ends, strict=True)):
        frequent = np.argsort(-log.counts[c], kind="stable")[:head]
        total = sum(sizes) if scheme.shared else size
        buckets = total - int(ends[-1]) if scheme.shared else size - 1 - head
        tail = TailHash(scheme.tail, buckets, 1000 * seed + c, scheme.signed)
        vocabulary = Vocabulary(
            log.hashes[c][frequent],
            tail,
            offset=int(end) - 1 - head if scheme.shared else 0,
            tail_offset=int(ends[-1]) if scheme.shared else None,
        )
        ids.append(vocabulary.rows(log.hashes[c])[log.values[:, c]])
        tables.append(
            Table(
                log.names[c],
                total,
                DIM,
                slots=vocabulary.slots,
                signed=scheme.signed,
                shared="all" if scheme.shared else "",
            )
        )
    return Inputs(tuple(tables), ()), np.concatenate(ids, axis=1)


def quality(
    log: Log, inputs: Inputs, ids: np.ndarray, settings: TrainingSettings
) -> dict[str, tuple[float, str]]:
    """Train on a log's training part, score the other; values and units by metric."""
    network = build_network(
        "dnn", inputs, {"hidden_layers": HIDDEN, "dropout": 0.0, "batch_norm": False}, settings.seed
    )
    split, size = log.train_rows, settings.batch_size
    feed = ArrayFeed(ids[:split], log.label[:split], size, settings.seed)
    began = time.perf_counter()
    train(network, feed, None, settings)
    taken = time.perf_counter() - began
    test = ArrayFeed(ids[split:], log.label[split:], 8192, settings.seed)
    label, logit, _ = predict(network, test).of_task()
    tables = sum(weight.weight.nbytes for weight in network.embedding.weights)
    return {
        "auc": (roc_auc(label, logit), ""),
        "log_loss": (log_loss_of_logits(label, logit), ""),
        "size": (float(tables), "bytes"),
        "fit": (taken, "s"),
    }


def measure_log(name: str, log: Log, settings: TrainingSettings) -> Iterator[Record]:
    """Measure all schemes on a log; the seed is that of the settings."""
    seed = settings.seed
    print(
        f"{name}, seed {seed}: {log.train_rows:,} training rows, {sum(log.distinct):,} different "
        f"values, {log.label.mean():.2%} positive; {log.unseen:.0%} of test values unseen",
        file=sys.stderr,
    )
    for what, auc in log.best.items():
        yield Record(f"{name}: {what}", BEST, "auc", auc, "", seed)
    # One row for every value of the training part, and rows for missing and unseen ones.
    everything = sum(log.distinct) + 2 * len(log.names)
    whole = Scheme("one row a value", "modulo", head=1.0)
    values = quality(log, *encoded(log, whole, everything, seed), settings)
    for metric, (value, unit) in values.items():
        yield Record(f"{name}: {whole.name}", UNCOMPRESSED, metric, value, unit, seed)
    for compression in COMPRESSIONS:
        found: dict[str, float] = {}
        for scheme in SCHEMES:
            rows = everything // compression
            values = quality(log, *encoded(log, scheme, rows, seed), settings)
            found[scheme.name] = values["auc"][0]
            for metric, (value, unit) in values.items():
                yield Record(f"{name}: {scheme.name}", f"{compression}x", metric, value, unit, seed)
        for one, other in PAIRS:
            difference = found[one] - found[other]
            yield Record(
                f"{name}: {one} minus {other}", f"{compression}x", "auc", difference, "", seed
            )


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the logs, seed by seed."""
    quick = arguments.quick
    rows = (60_000, 20_000, 400_000) if quick else (3_500_000, 300_000, 20_000_000)
    batch_size = 1024 if quick else SYNTHETIC.batch_size
    for seed in arguments.seeds[:1] if quick else arguments.seeds:
        if "synthetic" in arguments.logs:
            settings = replace(SYNTHETIC, seed=seed, batch_size=batch_size)
            yield from measure_log("synthetic", zipf_log(*rows, seed), settings)
        if "TalkingData" in arguments.logs:
            log = talking_data(seed)
            if isinstance(log, str):
                print(f"TalkingData is left out: {log}", file=sys.stderr)
            else:
                yield from measure_log("TalkingData", log, replace(TALKING_DATA, seed=seed))


def _options(parser: argparse.ArgumentParser) -> None:
    logs = ("synthetic", "TalkingData")
    parser.add_argument("--logs", nargs="+", choices=logs, default=logs, help="default: both")


if __name__ == "__main__":
    run(measure, __doc__ or "", seeds=range(5), options=_options)

"""Time of a call of what serves: teacher, ensemble, student, quantised student, a cheap peer.

Each system is the predictor that a Spark task gets, made from the bytes of the network: `dnn` in
the size that BARS publishes for Frappe_x1 (`benchmarks.model_zoo`) as the single teacher, three of
it as the ensemble, the student of `benchmarks.distillation`, and that student with all layers at 8
bits. The cheap peer is scikit-learn's one-hot encoding and logistic regression. **The weights
are untrained** (the peer's are fitted to noise): the time does not depend on them.

A call takes NumPy arrays of ids and numbers and returns logits, checks of the ids included; what
Spark does around it is not timed. Tables are those of Frappe, or drawn in the same sizes where it
is not there; the ids of a call are drawn uniformly, of the next of many batches each time. All runs
on one thread, and the systems take turns call by call, so that a busy moment hits all alike.

``p50`` and ``p99`` are wall-clock time; where other programs share the cores, the p99 of short
calls is theirs, and that of ``CPU`` says what the call itself takes. Of fewer than a hundred calls
(large batches), p99 is the longest but one part in a hundred. Ratios are to the single teacher.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from benchmarks import distillation_systems
from benchmarks.frame import Record, run
from benchmarks.model_zoo import _BARS, PUBLISHED
from benchmarks.model_zoo_logs import FRAPPE_DIM, frappe
from spark_ctr.classification import CTRClassifier
from spark_ctr.distillation.ladder import Predictor, drawn_rows
from spark_ctr.networks import Inputs, Network, Table, build_network
from spark_ctr.networks.serialization import network_to_bytes, predictor_from_bytes
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.runtime import serialization as packed

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from threadpoolctl import threadpool_limits
except ImportError as error:
    sys.exit(f"benchmarks.serving_latency needs scikit-learn for its peer ({error}): install it")

TEACHER, ENSEMBLE, STUDENT = "dnn teacher", "3 teachers", "student"
QUANTISED, PEER = "quantised student", "logistic regression"
# Rows of a call, and calls.
CALLS = {1: 2000, 256: 2000, 65_536: 9}
QUICK_CALLS = {1: 20, 256: 20, 2500: 3}
UNTIMED, BATCHES = 3, 64
FRAPPE_ROWS = (957, 4082, 7, 7, 2, 3, 2, 9, 80, 233)


def frappe_inputs() -> Inputs:
    """Tables of Frappe, or drawn ones of its sizes."""
    log = frappe()
    if not isinstance(log, str):
        return log.inputs
    print(f"drawn tables: {log}", file=sys.stderr)
    tables = [Table(f"c{i}", rows, FRAPPE_DIM) for i, rows in enumerate(FRAPPE_ROWS)]
    return Inputs(tuple(tables), ())


def network_of(inputs: Inputs, params: Mapping[str, object]) -> Network:
    """Return the untrained network of a `CTRClassifier` with these Params."""
    classifier = CTRClassifier(**params)
    columns, config = classifier.network_inputs(inputs), classifier.network_config()
    return build_network(classifier.getNetwork(), columns, config)


def one_hot_regression(inputs: Inputs, seed: int) -> Predictor:
    """Fit scikit-learn's one-hot encoding and logistic regression to labels of noise."""
    ids, _ = drawn_rows(inputs, 2000, seed)
    encoder = OneHotEncoder(categories=[np.arange(table.rows) for table in inputs.tables])
    model = make_pipeline(encoder, LogisticRegression(max_iter=20))
    model.fit(ids, np.random.default_rng(seed).integers(0, 2, len(ids)))
    return lambda ids, numeric: model.decision_function(ids)[:, None]


def predictors(inputs: Inputs, seed: int) -> dict[str, Predictor]:
    """Return what serves, by system."""
    teacher = _BARS | PUBLISHED["dnn"]
    student = network_of(
        inputs, distillation_systems.STUDENT | {"embeddingDim": distillation_systems.DIM}
    )
    rows = drawn_rows(inputs, 1024, seed)
    plan = dict.fromkeys(quantisable_layers(student), "int8")
    quantised = prepare(student, plan, (torch.from_numpy(rows[0]), torch.from_numpy(rows[1])))
    return {
        TEACHER: predictor_from_bytes(network_to_bytes(network_of(inputs, teacher))),
        ENSEMBLE: predictor_from_bytes(
            network_to_bytes(network_of(inputs, teacher | {"members": 3}))
        ),
        STUDENT: predictor_from_bytes(network_to_bytes(student)),
        QUANTISED: packed.predictor_from_bytes(packed.packed_to_bytes(pack_network(quantised))),
        PEER: one_hot_regression(inputs, seed),
    }


def timed_calls(
    systems: Mapping[str, Predictor], inputs: Inputs, rows: int, calls: int, seed: int
) -> dict[str, np.ndarray]:
    """Wall-clock and CPU time of each call in microseconds, [calls, 2], by system."""
    batches = [drawn_rows(inputs, rows, seed + i) for i in range(min(BATCHES, calls))]
    clocks: tuple[Callable[[], int], ...] = (time.perf_counter_ns, time.thread_time_ns)
    taken = {name: np.empty((calls, len(clocks))) for name in systems}
    for call in range(-UNTIMED, calls):
        batch = batches[call % len(batches)]
        for name, predict in systems.items():
            began = [clock() for clock in clocks]
            predict(*batch)
            ended = [clock() for clock in clocks]
            if call >= 0:
                taken[name][call] = np.subtract(ended, began) / 1e3
    return taken


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the systems at every batch size."""
    inputs = frappe_inputs()
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        systems = predictors(inputs, seed)
        with threadpool_limits(1):
            torch.set_num_threads(1)
            print(f"threads of torch: {torch.get_num_threads()}")
            for rows, calls in (QUICK_CALLS if arguments.quick else CALLS).items():
                taken = timed_calls(systems, inputs, rows, calls, seed)
                for name, times in taken.items():
                    for share in (50, 99):
                        for which, values in zip(("", "CPU, "), times.T, strict=True):
                            value = float(np.percentile(values, share))
                            case = f"batch {rows:,} ({calls:,} calls)"
                            yield Record(case, name, f"{which}p{share}", value, "µs", seed)


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=TEACHER)

"""Time for a row of a student's scores, ids in memory: ours, today's and others'.

Students of random weights, [128, 128, 64] and [1024, 1024, 512], on 26 embeddings of width 16 and
13 numbers, and on 12 and 3; tables of 100,000 rows, ids drawn uniformly. Ours are packed programs
by the native kernels: all layers in 8 bits with 8-bit inputs; the same with all rows of tables in
4 bits; and with the layers between the first and the last in 1 bit. ``NumPy`` is the packed path
without the kernels: 8-bit weights, float32 inputs, and the same with 1-bit layers (by numkong where
it is there). torch is a gather, a concatenation and `linear` in float32 and bfloat16; ONNX Runtime
is quantised by its own tools, statically and dynamically, and left out where it cannot be imported.
The teacher is [400, 400, 400] in torch.

Ids of torch and of ONNX Runtime are rows of one stacked table already; ours are checked and
offset in the call. All runs on one thread, and the systems take turns of a few calls. Times are
medians over calls, for a row; ``CPU`` is that of the thread, which other programs on the core
disturb less.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.calls import timed
from benchmarks.frame import Record, run
from benchmarks.student_peers import Scorer, onnx_scorers, torch_scorer
from benchmarks.student_programs import Shape, Weights
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.packed_model import PackedModel

ALL_INT8, ONE_BIT = "ours, 8 bits", "ours, 8 and 1 bit"
COARSE = "ours, 8 bits, tables 4"
NUMPY, NUMPY_ONE_BIT = "NumPy, 8 bits", "NumPy, 8 and 1 bit"
TORCH, BFLOAT16, TEACHER = "torch float32", "torch bfloat16", "teacher, torch float32"
TEACHER_LAYERS = (400, 400, 400)
STUDENTS = ((128, 128, 64), (1024, 1024, 512))
SHAPES = ((26, 16, 13), (12, 16, 3))
ROWS, QUICK_ROWS = 100_000, 1000
# Rows of a call: calls, and those of a turn.
CALLS = {1: (300, 20), 256: (100, 10), 4096: (11, 1)}
QUICK_CALLS = {1: (2, 1), 256: (2, 1)}


def ours(weights: Weights, *, one_bit: bool, coarse: bool = False) -> Scorer:
    """Return the program as it is served."""
    program = weights.program(one_bit=one_bit, levels=True, coarse=coarse)
    return PackedModel.from_arrays(*program).predict_logits


def by_numpy(weights: Weights, *, one_bit: bool) -> Scorer:
    """Return the program of float32 inputs, without the kernels."""
    execution = Execution(read_program(*weights.program(one_bit=one_bit, levels=False)))

    def score(ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        logits = np.empty((len(ids), 1), np.float32)
        execution(ids, numeric, logits)
        return logits

    return score


def scorers(shape: Shape, hidden: Sequence[int], seed: int) -> dict[str, Scorer]:
    """Return all systems; peers take ids of the stacked table."""
    weights = Weights(shape, hidden, seed)
    table = torch.from_numpy(weights.float_table)
    found = {
        ALL_INT8: ours(weights, one_bit=False),
        COARSE: ours(weights, one_bit=False, coarse=True),
        ONE_BIT: ours(weights, one_bit=True),
        NUMPY: by_numpy(weights, one_bit=False),
        NUMPY_ONE_BIT: by_numpy(weights, one_bit=True),
    }
    stacked = {
        TORCH: torch_scorer(weights, table, torch.float32),
        BFLOAT16: torch_scorer(weights, table, torch.bfloat16),
        TEACHER: torch_scorer(Weights(shape, TEACHER_LAYERS, seed), table, torch.float32),
        **dict(onnx_scorers(weights)),
    }
    for name, score in stacked.items():
        found[name] = lambda ids, numeric, rows, score=score: score(rows, numeric)
    for name in (ALL_INT8, COARSE, ONE_BIT, NUMPY, NUMPY_ONE_BIT):
        found[name] = lambda ids, numeric, rows, score=found[name]: score(ids, numeric)
    return found


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the systems at every shape and batch size."""
    rows_of_table = QUICK_ROWS if arguments.quick else ROWS
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        with threadpool_limits(1), torch.inference_mode():
            torch.set_num_threads(1)
            for columns, dim, numbers in SHAPES:
                shape = Shape(columns, dim, numbers, rows_of_table)
                offsets = (np.arange(columns) * rows_of_table).astype(np.int32)
                for hidden in STUDENTS:
                    systems = scorers(shape, hidden, seed)
                    draw = np.random.default_rng(seed)
                    for rows, (calls, in_a_row) in (
                        QUICK_CALLS if arguments.quick else CALLS
                    ).items():
                        drawn = [shape.batch(rows, draw) for _ in range(min(calls, 100))]
                        batches = [(ids, numeric, ids + offsets) for ids, numeric in drawn]
                        case = f"{shape}, {list(hidden)}, batch {rows:,}"
                        yield from timed(
                            case, systems, batches, rows, calls, seed, in_a_row=in_a_row
                        )


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=TORCH)

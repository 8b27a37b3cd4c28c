"""Loading of a packed model in several Python processes: seconds, and memory that is not shared.

The model is generated: one column whose 8-bit table, 16 wide, has 64 MiB, and one layer of 8 bits
behind it. As in Spark, a worker on one thread reads the pickled model from a file, makes a
predictor and scores; 8,192 rows with ids from everywhere. ``load`` is the time up to the first
score, of the first worker, which writes the shared file, and of the others, one after the other.
Memory is what the worker gained by it (``smaps_rollup``), measured when all have loaded, with what
they hold until the end of a task. ``shared`` counts pages that another process maps too.

Systems: ``spark_ctr``, which maps one file; ``in memory``, the same without a folder to share,
where each worker reads arrays in a copy of its own; ``copied arrays``, the reader before, which had
safetensors copy each array, with the payload beside them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np
from safetensors.numpy import load

from benchmarks.frame import OURS, Record, run
from benchmarks.student_programs import Shape, Weights
from spark_ctr.rows.scored_batches import predictor
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes
from spark_ctr.safetensors_header import read_description

IN_MEMORY, COPIED = "in memory", "copied arrays"
LOADER = "spark_ctr.runtime.serialization:predictor_from_bytes"
LOADERS = {OURS: LOADER, IN_MEMORY: LOADER, COPIED: f"{__name__}:copying_predictor"}
WIDTH, ROWS, WORKERS = 16, 8192, 4
_MIB = 1 << 20
_LINE = re.compile(r"^(Private|Shared)_(?:Clean|Dirty):\s+(\d+) kB$", re.MULTILINE)


def generated_model(mebibytes: float, seed: int = 0) -> bytes:
    """Return a packed model of one table of so many MiB."""
    shape = Shape(1, WIDTH, 1, int(mebibytes * _MIB) // WIDTH)
    program = Weights(shape, (), seed).program(one_bit=False, levels=True)
    return packed_to_bytes(PackedModel.from_arrays(*program))


def copying_predictor(data: bytes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a predictor as it was made before arrays were views."""
    return PackedModel.from_arrays(read_description(data, "packed"), load(data)).predict_logits


def memory(pid: int | str = "self") -> dict[str, int]:
    """Return the bytes of a process that it has for itself ("Private"), and that it shares.

    Raises
    ------
    FileNotFoundError
        Where the system is not Linux.
    """
    found = {"Private": 0, "Shared": 0}
    for kind, kibibytes in _LINE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()):
        found[kind] += int(kibibytes) << 10
    return found


@dataclass(frozen=True)
class Loaded:
    """What it took a worker to load a model.

    Attributes
    ----------
    seconds : float
    logits : ndarray [B, 1], float32
        Of the rows of `rows_of`.
    gained : dict of str to int
        See `memory`.
    """

    seconds: float
    logits: np.ndarray
    gained: dict[str, int]


def rows_of(table_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and numbers of rows from everywhere in a table."""
    ids = np.random.default_rng(1).integers(0, table_rows, (ROWS, 1), np.int32)
    return ids, np.ones((ROWS, 1), np.float32)


def load_in_workers(
    data: bytes, system: str, workers: int = WORKERS, folder: str | None = None
) -> list[Loaded]:
    """Have so many processes load a model one after the other, and then keep it together.

    Parameters
    ----------
    data : bytes
        Of `generated_model`.
    system : str
        One of `LOADERS`.
    workers : int
    folder : str, optional
        What ``SPARK_LOCAL_DIRS`` says.
    """
    table_rows = packed_from_bytes(data).inputs.tables[0].rows
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pickled = stack.enter_context(tempfile.NamedTemporaryFile(prefix="spark_ctr-benchmark-"))
        pickle.dump(Payload(data, shared=system != COPIED), pickled)
        pickled.flush()
        stack.enter_context(mock.patch.dict(os.environ, OMP_NUM_THREADS="1"))
        ends: list[Connection] = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            arguments = theirs, pickled.name, LOADERS[system], table_rows, folder
            process = context.Process(target=_work, args=arguments)
            process.start()
            theirs.close()
            # Its end of the pipe ends the process.
            stack.callback(process.join)
            stack.callback(ours.close)
            ends.append(ours)
        for end in ends:
            end.recv()  # ready
        found = []
        for end in ends:
            end.send(None)
            found.append(end.recv())
        for end in ends:
            end.send(None)
        return [Loaded(*one, end.recv()) for one, end in zip(found, ends, strict=True)]


def _work(
    connection: Connection, pickled: str, loader: str, table_rows: int, folder: str | None
) -> None:
    os.environ.pop("SPARK_LOCAL_DIRS", None)
    if folder is not None:
        os.environ["SPARK_LOCAL_DIRS"] = folder
    # What any predictor needs is there before it counts.
    small = generated_model(0.01)
    predictor(loader, Payload(small))(*rows_of(packed_from_bytes(small).inputs.tables[0].rows))
    rows, before = rows_of(table_rows), memory()
    connection.send(None)
    connection.recv()
    began = time.perf_counter()
    with open(pickled, "rb") as file:
        payload = pickle.load(file)
    logits = predictor(loader, payload)(*rows)
    connection.send((time.perf_counter() - began, logits))
    connection.recv()
    after = memory()
    connection.send({kind: after[kind] - before[kind] for kind in after})
    with suppress(EOFError):
        connection.recv()


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run all systems."""
    mebibytes, rounds = (2, 1) if arguments.quick else (64, 5)
    case = f"{mebibytes} MiB of tables, {WORKERS} workers"
    for seed in arguments.seeds:
        data = generated_model(mebibytes, seed)
        for _ in range(rounds):
            bits = set()
            for system in LOADERS:
                with tempfile.TemporaryDirectory(prefix="spark_ctr-benchmark-") as folder:
                    own = folder if system == OURS else None
                    first, *others = load_in_workers(data, system, folder=own)
                bits |= {one.logits.tobytes() for one in (first, *others)}
                yield Record(case, system, "load, first worker", first.seconds, "s", seed)
                for one in others:
                    yield Record(case, system, "load, other workers", one.seconds, "s", seed)
                for one in (first, *others):
                    for kind, size in one.gained.items():
                        metric = f"{kind.lower()} memory of a worker"
                        yield Record(case, system, metric, size / _MIB, "MiB", seed)
            if len(bits) > 1:
                raise AssertionError("systems gave different logits")


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=IN_MEMORY)

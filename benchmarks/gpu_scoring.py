"""Parts of `benchmarks.gpu` that score: a layer, students, other networks, from host and Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from benchmarks.frame import OURS, Record
from benchmarks.gpu_peers import System, float_network, int8_network, times, waiting
from benchmarks.student_programs import Shape, Weights
from spark_ctr.kernels import BinaryLinear, pack_signs
from spark_ctr.kernels.cuda import (
    Device,
    SignLayer,
    Stream,
    linear_blocks,
    oracle_blocks,
    row_words,
    to_device_rows,
)
from spark_ctr.networks import build_network
from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.rows.scored_batches import Scoring
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.runtime.cuda_execution import CHUNK_ROWS, CudaExecution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.planner import NotNative
from spark_ctr.runtime.serialization import packed_to_bytes

INPUTS, OUTPUTS = 1024, 512
STUDENTS = ((128, 128, 64), (512, 256, 128), (1024, 1024, 512))
NETWORKS: dict[str, dict[str, Any]] = {
    "dnn": {"hidden_layers": [512, 256, 128]},
    "dcnv2": {"hidden_layers": [400, 400, 400], "cross_layers": 3},
    "deepfm": {"hidden_layers": [400, 400, 400]},
    "ensemble": {"hidden_layers": [128, 128, 64]},
}
_MEMORY = 1 << 35
_LOADER = "spark_ctr.runtime.serialization:predictor_from_bytes"


def layer(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time the 1-bit layer, packed in and out."""
    rows = 128 if quick else 1 << 20
    draw, stream = np.random.default_rng(seed), device.stream()
    weight = draw.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    scale, bias = np.abs(weight).mean(axis=1), draw.normal(0, 5, OUTPUTS).astype(np.float32)
    signs = pack_signs(weight)
    packed = draw.integers(0, 256, (rows, INPUTS // 8), dtype=np.uint8)
    x = _copied(device, stream, to_device_rows(packed, INPUTS))
    made = SignLayer(signs, INPUTS, scale, bias)
    ours = device.allocate(rows * row_words(OUTPUTS) * 4)
    constants = [_copied(device, stream, array) for array in (made.weight, made.threshold)]
    size = np.int64(rows), np.int32(INPUTS), np.int32(OUTPUTS)
    addresses = [memory.address for memory in (x, *constants)]
    call = partial(
        stream.launch,
        *("binary_linear", "binary_linear_signs", linear_blocks(rows, OUTPUTS), 0),
        *(*addresses, *size, ours.address),
    )
    oracle = [to_device_rows(signs, INPUTS), scale, bias]
    counted = [_copied(device, stream, array) for array in oracle]
    floats = device.allocate(rows * OUTPUTS * 4)
    plain = partial(
        stream.launch,
        *("binary_oracle", "binary_oracle", oracle_blocks(rows, OUTPUTS), 0),
        *(x.address, *(memory.address for memory in counted), *size, floats.address),
    )
    systems: dict[str, System] = {
        OURS: (call, stream.synchronise),
        "plain counting": (plain, stream.synchronise),
        **_float_layers(rows, there),
    }
    yield from times(f"1-bit layer, {rows:,} rows", systems, rows, 2 if quick else 10, seed)
    _check_layer(stream, ours.address, packed[:500], BinaryLinear(signs, INPUTS, scale, bias))


def _float_layers(rows: int, there: torch.device) -> dict[str, System]:
    """Return the layer's product by torch, without what comes before or after it."""
    x = torch.ones((rows, INPUTS), dtype=torch.int8, device=there)
    weight = torch.ones((OUTPUTS, INPUTS), dtype=torch.int8, device=there)
    half, half_weight = x.half(), weight.half()
    wait = waiting(there)
    return {
        "torch float16": (lambda: F.linear(half, half_weight), wait),
        "torch int8": (lambda: torch._int_mm(x, weight.t()), wait),
    }


def _check_layer(stream: Stream, at: int, packed: np.ndarray, expected: BinaryLinear) -> None:
    """Compare the first rows with the CPU's layer; signs of inputs are +1 and -1."""
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(np.float32)
    found = np.empty((len(packed), row_words(OUTPUTS)), np.uint32)
    stream.copy_out(found, at)
    stream.synchronise()
    wanted = to_device_rows(pack_signs(expected(2 * bits - 1)), OUTPUTS)
    if not np.array_equal(found, wanted):
        raise AssertionError("the layer's signs are not those of the CPU")


def students(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time DNN students, ids on the device."""
    shape = Shape(26, 16, 13, 1000 if quick else 100_000)
    sizes = {128: 2} if quick else {10_000: 100, 1 << 20: 3}
    for hidden in STUDENTS[:1] if quick else STUDENTS:
        weights = Weights(shape, hidden, seed)
        peers = _peers(weights, there)
        for rows, calls in sizes.items():
            ids, numeric = shape.batch(rows, np.random.default_rng(seed))
            systems: dict[str, System] = {}
            for name, one_bit in ((f"{OURS}, 8 bits", False), (f"{OURS}, 8 and 1 bit", True)):
                program = weights.program(one_bit=one_bit, levels=True)
                systems[name] = _on_device(program, device, ids, numeric)
            stacked = torch.from_numpy(ids.astype(np.int64)).to(there)
            stacked += torch.arange(shape.columns, device=there) * shape.rows
            numbers = torch.from_numpy(numeric).to(there)
            for name, score in peers.items():
                systems[name] = partial(_quiet, score, stacked, numbers), waiting(there)
            yield from times(f"{list(hidden)}, {rows:,} rows", systems, rows, calls, seed)


def _peers(weights: Weights, there: torch.device) -> dict[str, Callable[..., Any]]:
    exact = float_network(weights, there, torch.float32)

    def with_tf32(*batch: torch.Tensor) -> torch.Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return exact(*batch)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    found = {"torch float32": exact, "torch TF32": with_tf32}
    if there.type == "cuda":
        for name, network in (
            ("torch float16, compiled", float_network(weights, there, torch.float16)),
            ("torch int8, compiled", int8_network(weights, there)),
        ):
            found[name] = torch.compile(network, mode="reduce-overhead", dynamic=False)
    return found


@torch.inference_mode()
def _quiet(score: Callable[..., Any], *batch: torch.Tensor) -> None:
    score(*batch)


def _on_device(
    program: tuple[dict[str, Any], dict[str, np.ndarray]] | PackedModel,
    device: Device,
    ids: np.ndarray,
    numeric: np.ndarray,
) -> System:
    """Return our program on rows that the device has, once its scores are those of the CPU."""
    model = program if isinstance(program, PackedModel) else PackedModel.from_arrays(*program)
    read = read_program(*model.to_arrays())
    execution = CudaExecution(read, len(model.tasks), device, _MEMORY, len(ids))
    if execution.chunk < len(ids):
        raise ValueError(f"{len(ids)} rows are {execution.chunk} at a time")
    logits = np.empty((len(ids), len(model.tasks)), np.float32)
    execution(ids, numeric, logits)
    if not np.array_equal(logits, model.predict_logits(ids, numeric)):
        raise AssertionError("scores are not those of the CPU")
    return execution.launch_again, execution.synchronise


def networks(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time other networks, quantised, beside themselves in float32, ids on the device."""
    rows = 128 if quick else 1 << 18
    shape = Shape(4, 8, 3, 100) if quick else Shape(26, 16, 13, 100_000)
    ids, numeric = shape.batch(rows, np.random.default_rng(seed))
    few = torch.from_numpy(ids[:512]), torch.from_numpy(numeric[:512])
    for name, config in NETWORKS.items():
        if quick:
            config = {**config, "hidden_layers": [8]}
        kind = "dnn" if name == "ensemble" else name
        members = [
            build_network(kind, shape.inputs(), config, seed + i).eval()
            for i in range(3 if name == "ensemble" else 1)
        ]
        network = Ensemble(members).eval() if name == "ensemble" else members[0]
        plan = dict.fromkeys(quantisable_layers(network), "int8")
        packed = pack_network(prepare(network, plan, few).eval())
        try:
            ours = _on_device(packed, device, ids, numeric)
        except NotNative as reason:
            print(f"without {name}: {reason}")
            continue
        there_network = network.to(there)
        batch = torch.from_numpy(ids).to(there), torch.from_numpy(numeric).to(there)
        peer = partial(_quiet, there_network, *batch), waiting(there)
        systems = {OURS: ours, "torch float32": peer}
        yield from times(f"{name}, {rows:,} rows", systems, rows, 2 if quick else 5, seed)


def from_host(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time from ids and numbers in the host's memory to scores in it, and the parts alone."""
    shape = Shape(26, 16, 13, 1000 if quick else 100_000)
    rows, chunk = (256, 128) if quick else (1 << 20, CHUNK_ROWS)
    weights = Weights(shape, STUDENTS[0 if quick else 1], seed)
    model = PackedModel.from_arrays(*weights.program(one_bit=True, levels=True))
    program = read_program(*model.to_arrays())
    execution = CudaExecution(program, 1, device, _MEMORY, chunk)
    ids, numeric = shape.batch(rows, np.random.default_rng(seed))
    logits = np.empty((rows, 1), np.float32)
    parts = [slice(start, start + chunk) for start in range(0, rows, chunk)]

    def one_after_another() -> None:
        for part in parts:
            execution(ids[part], numeric[part], logits[part])

    def kernels() -> None:
        for _ in parts:
            execution.launch_again()

    stream, memory = device.stream(), device.allocate(ids.nbytes + numeric.nbytes)
    pinned = device.pinned(memory.nbytes)
    out = device.pinned(logits.nbytes)

    def copies() -> None:
        stream.copy_in(memory.address, pinned)
        stream.copy_out(out, memory.address)

    def filling() -> None:
        pinned[: ids.nbytes].view(np.int32)[:] = ids.reshape(-1)
        pinned[ids.nbytes :].view(np.float32)[:] = numeric.reshape(-1)

    execution(ids, numeric, logits)
    systems: dict[str, System] = {
        "two chunks under way": (partial(execution, ids, numeric, logits), _done),
        "one after another": (one_after_another, _done),
        "kernels alone": (kernels, execution.synchronise),
        "copies alone": (copies, stream.synchronise),
        "filling of pinned memory alone": (filling, _done),
        "CPU kernels": (partial(model.predict_logits, ids, numeric), _done),
    }
    yield from times(f"from host, {rows:,} rows", systems, rows, 1, seed)


def from_arrow(device: Device, there: torch.device, quick: bool, seed: int) -> Iterator[Record]:
    """Time what a worker runs: Arrow batches in, scores out."""
    shape = Shape(26, 16, 13, 1000 if quick else 100_000)
    rows = 400 if quick else 1 << 20
    weights = Weights(shape, STUDENTS[0 if quick else 1], seed)
    model = PackedModel.from_arrays(*weights.program(one_bit=True, levels=True))
    payload = Payload(packed_to_bytes(model))
    ids, numeric = shape.batch(rows, np.random.default_rng(seed))
    packed = np.concatenate([ids.view(np.uint8), numeric.view(np.uint8)], axis=1)
    for size in (100,) if quick else (10_000, 65_536, 262_144):
        batches = [_arrow_rows(packed[start : start + size]) for start in range(0, rows, size)]
        workers = {
            f"{OURS}, {on}": Scoring(shape.inputs(), 1, "error", True, _LOADER, payload, on)
            for on in ("cuda", "cpu")
        }
        systems: dict[str, System] = {
            name: (partial(_scored, scoring, batches), _done) for name, scoring in workers.items()
        }
        yield from times(f"Arrow batches of {size:,}", systems, rows, 1, seed)
        first, second = (_scored(scoring, batches) for scoring in workers.values())
        if not np.array_equal(first, second):
            raise AssertionError("scores are not those of the CPU")


def _scored(scoring: Scoring, batches: list[pa.Array]) -> np.ndarray:
    return np.concatenate([part.to_numpy() for part in scoring.arrow(batches)])


def _arrow_rows(packed: np.ndarray) -> pa.Array:
    offsets = np.arange(len(packed) + 1, dtype=np.int32) * packed.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(packed))]
    return pa.Array.from_buffers(pa.binary(), len(packed), buffers)


def _copied(device: Device, stream: Stream, array: np.ndarray) -> Any:
    array = np.ascontiguousarray(array)
    memory = device.allocate(array.nbytes)
    stream.copy_in(memory.address, array)
    stream.synchronise()
    return memory


def _done() -> None:
    """Nothing to wait for: the call has waited."""

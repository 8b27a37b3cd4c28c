"""A 1-bit layer of 1,024 inputs and 512 outputs on one core, beside float32.

Ours takes float32 inputs, packs their signs and computes float32 outputs, as `binary_linear` of a
packed program does; it runs as a program of that one operation, whose inputs are numeric columns,
with each instruction set of the processor. *To signs* a second 1-bit layer, of one output, follows,
as in a network: of the first only the signs are written, by comparing whole numbers. numkong packs
by `numpy.packbits` and multiplies packed signs, the way `spark_ctr.kernels.BinaryLinear` does
without the native kernels; torch is `torch.nn.functional.linear` in float32. Inputs and outputs are
in memory; the systems take turns call by call, on one thread. Times are medians over calls, for a
row; ``CPU`` is that of the thread, which other programs on the core disturb less.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.calls import timed
from benchmarks.frame import Record, run
from spark_ctr.kernels import BinaryLinear, pack_signs
from spark_ctr.kernels.native.library import instruction_sets
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.native import NativeExecution
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs

INPUTS, OUTPUTS = 1024, 512
TORCH, NUMKONG = "torch float32", "numkong"
ROWS = {1: 2000, 256: 400, 4096: 60}
QUICK_ROWS = {1: 5, 64: 5}

Layer = Callable[[np.ndarray], np.ndarray]


def native_layer(
    signs: np.ndarray, scale: np.ndarray, bias: np.ndarray, instruction_set: str, to_signs: bool
) -> Layer:
    """Return the layer as a native program, with another behind it if only its signs count."""
    columns = tuple(f"n{i}" for i in range(INPUTS))
    arrays = {"layer.signs": signs, "layer.scale": scale, "layer.bias": bias}
    builder = ProgramBuilder(Inputs((), columns), arrays)
    logits = builder.add("binary_linear", NUMERIC, layer="layer")
    if to_signs:
        arrays["last.signs"] = signs[:1, : OUTPUTS // 8].copy()
        arrays["last.scale"], arrays["last.bias"] = scale[:1], bias[:1]
        logits = builder.add("binary_linear", logits, layer="last")
    width = 1 if to_signs else OUTPUTS
    program = read_program(*builder.build(logits, [f"t{i}" for i in range(width)], "layer"))
    execution = NativeExecution(program, width, instruction_set)

    def layer(x: np.ndarray) -> np.ndarray:
        outputs = np.empty((len(x), width), np.float32)
        execution(np.empty((len(x), 0), np.int32), x, outputs)
        return outputs

    return layer


def layers(seed: int) -> dict[str, Layer]:
    """Return the layer by all systems."""
    draw = np.random.default_rng(seed)
    weight = draw.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    scale, bias = draw.standard_normal((2, OUTPUTS)).astype(np.float32)
    signs, dense = pack_signs(weight), torch.from_numpy(weight)
    offset = torch.from_numpy(bias)
    found: dict[str, Layer] = {
        f"ours, {name}{', to signs' if to_signs else ''}": native_layer(
            signs, scale, bias, name, to_signs
        )
        for name in instruction_sets()
        for to_signs in (False, True)
    }
    found[NUMKONG] = BinaryLinear(signs, INPUTS, scale, bias)
    found[TORCH] = lambda x: torch.nn.functional.linear(torch.from_numpy(x), dense, offset).numpy()
    return found


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure the layer at every batch size."""
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        with threadpool_limits(1), torch.inference_mode():
            torch.set_num_threads(1)
            systems = layers(seed)
            draw = np.random.default_rng(seed)
            for rows, calls in (QUICK_ROWS if arguments.quick else ROWS).items():
                batches = [(draw.standard_normal((rows, INPUTS)).astype("f"),) for _ in range(4)]
                case = f"{INPUTS} -> {OUTPUTS}, batch {rows:,}"
                yield from timed(case, systems, batches, rows, calls, seed)


if __name__ == "__main__":
    run(measure, __doc__ or "", peer=TORCH)

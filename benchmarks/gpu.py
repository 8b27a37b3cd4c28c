"""Kernels, students, scoring and training on one GPU, beside torch on the same GPU.

``layer`` is a 1-bit layer of 1,024 inputs and 512 outputs, signs in and signs out, beside
`torch.nn.functional.linear` in float16, `torch._int_mm` and a plain kernel that counts bits.
``dnn`` is the students of `benchmarks.student_scoring` with ids in the device's memory, beside the
same network by torch: eager in float32, with and without TF32, compiled in float16 with CUDA
graphs, and compiled with `torch._int_mm`. ``networks`` is other networks of ours, quantised, beside
themselves in float32. ``host`` is a student from the host's memory to scores in it: two chunks
under way at a time, one after another, and the parts alone. ``arrow`` is what a Spark worker runs,
Arrow batches in and scores out, beside the CPU's kernels. ``training`` is DCNv2 of
`benchmarks.training_throughput` by our trainer from files, beside a plain torch loop on tensors
that are in the host's memory already.

Systems take turns; a turn is some calls, after one that does not count, and ends when the device is
done. Times are medians over turns of a call's share. Needs neither Spark nor Java.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator

import torch

from benchmarks import gpu_scoring, gpu_training
from benchmarks.frame import Record, run
from spark_ctr.kernels.cuda import open_device

PARTS = {
    "layer": gpu_scoring.layer,
    "dnn": gpu_scoring.students,
    "networks": gpu_scoring.networks,
    "host": gpu_scoring.from_host,
    "arrow": gpu_scoring.from_arrow,
    "training": gpu_training.training,
}
_FACTS = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Run the parts one after the other; one that fails says so, and the others go on."""
    device = open_device(0)
    facts = ["nvidia-smi", f"--query-gpu={_FACTS}", "--format=csv"]
    print(subprocess.run(facts, capture_output=True, text=True).stdout.strip())
    print(f"{device.name}, {device.arch}, CUDA {torch.version.cuda}", flush=True)
    failed = []
    for part in arguments.parts:
        try:
            for seed in arguments.seeds:
                yield from PARTS[part](device, torch.device("cuda"), arguments.quick, seed)
        except Exception as error:  # what is measured so far is worth keeping
            failed.append(part)
            print(f"{part}: {type(error).__name__}: {error}", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))


if __name__ == "__main__":
    run(measure, __doc__ or "", options=_options)

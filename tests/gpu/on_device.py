"""The kernels' tests on a device instead of the host, where ``SPARK_CTR_GPU=1`` asks for it.

With ``SPARK_CTR_GPU=stand-in`` the device is that of ``driver.cc``, which takes any machine code.

As a program it runs random programs, for tools that watch a device:
``python -m tests.gpu.on_device PROGRAMS``.
"""

import os
import sys

import numpy as np
import pytest

from spark_ctr.kernels.cuda import device, open_device

SOURCES = {
    "binary_linear_float32": "binary_linear",
    "binary_linear_levels": "binary_linear",
    "binary_linear_signs": "binary_linear",
    "binary_oracle": "binary_oracle",
    "embedding_float32": "embedding",
    "embedding_levels": "embedding",
    "integer_linear_float32": "integer_linear",
    "integer_linear_levels": "integer_linear",
    "integer_linear_signs": "integer_linear",
    "pack_signs_float16": "pack_signs",
    "pack_signs_float32": "pack_signs",
    "student_float32": "student",
}


_ASKED = os.environ.get("SPARK_CTR_GPU")
if _ASKED == "stand-in":
    device.machine_code = lambda source, arch: b"of no device"


def on_device():
    """Whether tests are to run on a device; that there is none is an error then."""
    return _ASKED in ("1", "stand-in")


class DeviceRunner:
    """Runs a kernel on copies of its arrays, and copies them all back."""

    def __init__(self):
        self.device = open_device(0)
        self.stream = self.device.stream()

    def launch(self, kernel, blocks, *arguments, first=0):
        if first:
            pytest.skip("a device runs all blocks of a grid")
        if not blocks:
            return
        held, values = [], []
        for argument in arguments:
            if not isinstance(argument, np.ndarray):
                # The driver takes as many bytes of a number as the kernel declares.
                values.append(np.int64(argument))
                continue
            argument = np.ascontiguousarray(argument)
            held.append((argument, self.device.allocate(argument.nbytes)))
            self.stream.copy_in(held[-1][1].address, argument)
            values.append(held[-1][1].address)
        self.stream.launch(SOURCES.get(kernel, "elements"), kernel, blocks, 0, *values)
        for array, memory in held:
            if array.flags.writeable:
                self.stream.copy_out(array, memory.address)
        self.stream.synchronise()

    def __getattr__(self, name):
        if name in ("layout", "_handle") or name.startswith("host_"):
            pytest.skip(f"{name} is of the library for the host")
        raise AttributeError(name)


def main():
    from spark_ctr.runtime.cuda_execution import CudaExecution
    from spark_ctr.runtime.execution import Execution
    from spark_ctr.runtime.header import read_program
    from tests.gpu.students import RandomStudent
    from tests.runtime.random_programs import RandomProgram

    device = open_device(0)
    for seed in range(int(sys.argv[1])):
        # Every third one is one launch.
        made = RandomStudent(seed) if seed % 3 == 0 else RandomProgram(seed)
        program = read_program(made.header, made.arrays)
        ids, numeric = made.rows(130)
        expected, found = np.empty((2, 130, made.tasks), np.float32)
        with np.errstate(all="ignore"):
            Execution(program)(ids, numeric, expected)
        CudaExecution(program, made.tasks, device, 1 << 24)(ids, numeric, found)
        np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}")
    print(f"{sys.argv[1]} programs have the bits of the CPU")


if __name__ == "__main__":
    main()

"""What `spark_ctr.kernels.cuda.device` asks of cuda.core, with a driver that is none behind it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.host import compile_for_host

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]
TESTS = [
    *("sources_on_host", "integer_on_host", "embedding_on_host", "elements_on_host"),
    *("cuda_execution",),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function that runs Python with the driver, and returns what it said."""
    pytest.importorskip("cuda.core")
    folder = tmp_path_factory.mktemp("driver")
    compile_for_host(folder, "driver.cc", "libcuda.so.1")

    def run(*command, **more):
        environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
        environment |= {"SPARK_CTR_GPU": "stand-in", **more}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_programs_have_the_bits_of_the_cpu(run):
    assert run("-m", "tests.gpu.on_device", "10") == (0, "10 programs have the bits of the CPU\n")


def test_what_a_machine_with_a_gpu_checks(run):
    files = [f"tests/gpu/test_{name}.py" for name in TESTS]
    code, said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert code == 0, said
    # Were they skipped, they would show nothing.
    assert int(said.split(" passed")[0].split()[-1]) > 30


def test_a_full_device_is_said_in_cudas_words(run):
    code, said = run("-m", "tests.gpu.on_device", "10", SPARK_CTR_DRIVER_MEMORY="100000")
    assert code == 1
    assert "rows instead of twice as many" in said
    assert "OutOfDeviceMemory" in said and "CUDA_ERROR_OUT_OF_MEMORY, said by a stand-in" in said


def test_arguments_that_cuda_refuses_are_in_the_error(run):
    program = """
import tests.gpu.on_device
from spark_ctr.kernels.cuda import CudaError, open_device
stream = open_device(0).stream()
try:
    stream.launch("elements", "no_such_kernel", 3, 64, 5)
except CudaError as error:
    print(error)
"""
    code, said = run("-c", program)
    assert code == 0 and said.startswith("no_such_kernel of 3 blocks, 64 bytes, (5,): "), said

"""The CUDA sources as a library of the host (host_device.h, host_kernels.cc), and its buffers."""

import ctypes
import mmap
import os
import shutil
import subprocess

import numpy as np
import pytest

from spark_ctr.kernels.cuda import source_folder
from tests.gpu.on_device import DeviceRunner, on_device

HERE = source_folder().parent / "tests" / "gpu"


def compile_for_host(folder, main="host_kernels.cc", library="host.so"):
    """Compile the sources in a folder, and return the library; skip where that cannot be done."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    for file in source_folder().iterdir():
        if file.suffix in (".cu", ".h"):
            shutil.copy(file, folder)
    (folder / "mma.h").write_text("// host_device.h has it\n")
    command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-Wno-unknown-pragmas"]
    command += ["-shared", "-fPIC", f"-I{folder}", f"-I{HERE}"]
    command += [str(HERE / main), "-o", str(folder / library), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "ucontext.h" in done.stderr:
        pytest.skip("no ucontext.h")
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / library))


def launch(host, kernel, blocks, *arguments, first=0):
    """Run blocks of a kernel; arrays are passed by address, rows as the first number."""
    if isinstance(host, DeviceRunner):
        host.launch(kernel, blocks, *arguments, first=first)
        return
    values = [
        ctypes.c_void_p(argument.ctypes.data)
        if isinstance(argument, np.ndarray)
        else ctypes.c_longlong(argument)
        for argument in arguments
    ]
    getattr(host, f"host_{kernel}")(ctypes.c_uint(first), ctypes.c_uint(blocks), *values)


def unbacked(count, dtype):
    """An array of zeros that takes memory only where it is written; a device has no such."""
    if on_device():
        pytest.skip("more memory than a device is given")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        return np.frombuffer(mmap.mmap(-1, count * np.dtype(dtype).itemsize, flags=flags), dtype)
    except OSError as error:
        pytest.skip(f"no address space: {error}")


def guarded(array):
    """Copy an array to the end of a mapping, behind which nothing may be read or written."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    mapping = np.frombuffer(mmap.mmap(-1, size + page), np.uint8)
    end = mapping.ctypes.data + size
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), ctypes.c_size_t(page), 0) == 0
    copy = mapping[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def survives(run):
    """Whether a function ends in a process of its own, which an access behind a buffer ends."""
    if on_device():
        pytest.skip("CUDA does not survive a fork; compute-sanitizer looks at that")
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0

"""A device that is none: the host's memory, and the sources compiled for the host."""

import ctypes
import mmap
import weakref
from dataclasses import dataclass

import numpy as np

from spark_ctr.kernels.cuda import CudaError, Memory, OutOfDeviceMemory
from tests.gpu.on_device import DeviceRunner

_POISON = 0xA5


@dataclass(frozen=True, eq=False)
class HostMemory(Memory):
    """Memory of this process."""

    held: object


class HostDevice:
    """Runs kernels when a stream is waited for, and not before: so late is a device at worst.

    Parameters
    ----------
    host : CDLL
        From `compile_for_host`.
    most : int
        Bytes that may be allocated at a time.
    """

    name, arch = "the host", "none"

    def __init__(self, host, most=1 << 40):
        self.host, self.most, self.taken = host, most, 0
        self.launched = []

    def enter(self):
        pass

    def load(self, source, kernel):
        getattr(self.host, f"host_{kernel}")

    def allocate(self, nbytes):
        if self.taken + nbytes > self.most:
            raise OutOfDeviceMemory(f"{nbytes} bytes of {self.name}: CUDA_ERROR_OUT_OF_MEMORY")
        # Whatever goes beyond by 256 bytes or more ends the process.
        page, room = mmap.PAGESIZE, -(-nbytes // 256) * 256
        size = -(-room // page) * page
        held = np.frombuffer(mmap.mmap(-1, size + page), np.uint8)
        held[:size] = _POISON
        address = held.ctypes.data
        end = ctypes.c_void_p(address + size)
        assert ctypes.CDLL(None).mprotect(end, ctypes.c_size_t(page), 0) == 0
        self.taken += nbytes
        memory = HostMemory(address + size - room, nbytes, held)
        weakref.finalize(memory, self._give_back, nbytes)
        return memory

    def _give_back(self, nbytes):
        self.taken -= nbytes

    def pinned(self, nbytes):
        return np.full(nbytes, _POISON, np.uint8)

    def stream(self):
        return HostStream(self)


def device_of(host):
    """The device of a test: a real one where tests run on it."""
    return host.device if isinstance(host, DeviceRunner) else HostDevice(host)


class HostStream:
    def __init__(self, device):
        self.device, self.waiting = device, []

    def copy_in(self, to, source):
        assert source.flags.c_contiguous
        self.waiting.append(lambda: ctypes.memmove(to, source.ctypes.data, source.nbytes))

    def copy_out(self, to, source):
        assert to.flags.c_contiguous
        self.waiting.append(lambda: ctypes.memmove(to.ctypes.data, source, to.nbytes))

    def fill(self, to, byte, nbytes):
        self.waiting.append(lambda: ctypes.memset(to, byte, nbytes))

    def launch(self, source, kernel, blocks, shared, *arguments):
        assert blocks > 0
        # cuda.core tells widths by the types of numbers, and takes an int for an address.
        assert all(type(a) in (int, np.int32, np.int64) for a in arguments)
        self.device.launched.append((source, kernel))
        function = getattr(self.device.host, f"host_{kernel}")
        values = [ctypes.c_longlong(int(a)) for a in arguments]
        memory = ctypes.c_uint.in_dll(self.device.host, "shared_bytes")

        def run():
            memory.value = shared
            function(ctypes.c_uint(0), ctypes.c_uint(blocks), *values)

        self.waiting.append(run)

    def synchronise(self):
        waiting, self.waiting = self.waiting, []
        for run in waiting:
            run()


class FailingStream(HostStream):
    """A stream whose kernels fail."""

    def synchronise(self):
        super().synchronise()
        if self.device.launched:
            raise CudaError("the host: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access")

"""A CUDA device: its memory, its streams, and launches of the kernels in ``gpu/``.

What computes on a device takes a `Device` and a `Stream`; `open_device` returns those of CUDA.
Tests have others, which run the same sources on the host. Linux only, and never before a fork: CUDA
does not survive one.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spark_ctr.kernels.cuda.compiler import ARCHITECTURES
from spark_ctr.kernels.cuda.cubins import machine_code
from spark_ctr.kernels.cuda.geometry import THREADS

# A kernel's argument: an address, or a number of the width that the kernel declares.
Argument = int | np.int32 | np.int64


class CudaError(RuntimeError):
    """CUDA refused or failed; the message has its name for it, and what was asked of it."""


class OutOfDeviceMemory(CudaError):
    """The device, or the host's memory that devices can read, is full."""


class NoDevice(CudaError):
    """There is no device, or none that the kernels are for."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory of a device, which is given back with this object.

    Attributes
    ----------
    address : int
        A multiple of 256.
    nbytes : int
    """

    address: int
    nbytes: int


class Stream(Protocol):
    """Copies and launches, one after the other; calls return before they are done."""

    def copy_in(self, to: int, source: np.ndarray) -> None:
        """Copy a contiguous array to an address of the device."""

    def copy_out(self, to: np.ndarray, source: int) -> None:
        """Fill a contiguous array from an address of the device."""

    def fill(self, to: int, byte: int, nbytes: int) -> None:
        """Fill memory of the device with a byte."""

    def launch(
        self, source: str, kernel: str, blocks: int, shared: int, *arguments: Argument
    ) -> None:
        """Launch blocks of `THREADS` threads of a kernel of a source.

        Each block has so many bytes of shared memory, at most `MOST_SHARED` of ``student``.
        """

    def synchronise(self) -> None:
        """Wait until all is done.

        Raises
        ------
        CudaError
            If any of it failed.
        """


class Device(Protocol):
    """Where kernels run.

    Attributes
    ----------
    name, arch : str
        As CUDA names the device and its architecture, such as ``"sm_90"``.
    """

    name: str
    arch: str

    def allocate(self, nbytes: int) -> Memory:
        """Return memory of the device.

        Raises
        ------
        OutOfDeviceMemory
        """

    def pinned(self, nbytes: int) -> np.ndarray:
        """Return memory of the host that copies need not wait for, as uint8 [nbytes].

        Raises
        ------
        OutOfDeviceMemory
        """

    def stream(self) -> Stream:
        """Return a new stream."""

    def load(self, source: str, kernel: str) -> None:
        """Make a kernel ready.

        Raises
        ------
        CudaError, CompilerMissingError, CompileError
        """

    def enter(self) -> None:
        """Let the calling thread use the device."""


def open_device(ordinal: int = 0) -> CudaDevice:
    """Return a device of this process.

    Parameters
    ----------
    ordinal : int
        Among those that CUDA sees, so that CUDA_VISIBLE_DEVICES counts.

    Raises
    ------
    NoDevice
        If cuda.core or the driver is not there, there is no such device, or the kernels are not for
        its architecture; the message says which.
    """
    try:
        from cuda.bindings import driver
        from cuda.core import Device as CoreDevice
    except ImportError as error:
        raise NoDevice(f"cuda.core is missing ({error}); pip install 'spark_ctr[gpu]'") from error
    try:
        _checked(driver, driver.cuInit(0), "starting CUDA")
        count = int(_checked(driver, driver.cuDeviceGetCount(), "counting GPUs"))
    except Exception as error:  # without a driver each version fails in its own way
        raise NoDevice(f"CUDA's driver cannot be used: {error}") from error
    if ordinal >= count:
        raise NoDevice(f"there is no GPU {ordinal}: CUDA sees {count}")
    device = CoreDevice(ordinal)
    arch = f"sm_{device.arch}"
    if arch not in ARCHITECTURES:
        raise NoDevice(
            f"GPU {ordinal} ({device.name}) has architecture {arch}, the kernels are for "
            f"{', '.join(ARCHITECTURES)}"
        )
    try:
        device.set_current()
    except Exception as error:  # the types of cuda.core's errors are private to it
        raise _as_cuda_error(error, f"GPU {ordinal} ({device.name})") from error
    return CudaDevice(device, driver, arch)


class CudaDevice:
    """A device by ``cuda.core``; see `Device` and `open_device`."""

    def __init__(self, device: Any, driver: Any, arch: str) -> None:
        self.name, self.arch = str(device.name), arch
        self._device, self._driver = device, driver
        self._kernels: dict[tuple[str, str], Any] = {}
        self._modules: dict[str, Any] = {}

    def enter(self) -> None:
        """See `Device.enter`."""
        self._device.set_current()

    def allocate(self, nbytes: int) -> Memory:
        """See `Device.allocate`."""
        size = max(nbytes, 1)
        address = int(self.checked(self._driver.cuMemAlloc(size), f"{size} bytes of {self.name}"))
        memory = Memory(address, nbytes)
        weakref.finalize(memory, self._driver.cuMemFree, address)
        return memory

    def pinned(self, nbytes: int) -> np.ndarray:
        """See `Device.pinned`."""
        size = max(nbytes, 1)
        found = self.checked(self._driver.cuMemAllocHost(size), f"{size} pinned bytes")
        address = int(found)
        held = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(held, self._driver.cuMemFreeHost, address)
        return np.frombuffer(memoryview(held), np.uint8)[:nbytes]

    def stream(self) -> CudaStream:
        """See `Device.stream`."""
        return CudaStream(self, self._device.create_stream(), self._driver)

    def load(self, source: str, kernel: str) -> None:
        """See `Device.load`."""
        self.kernel(source, kernel)

    def kernel(self, source: str, name: str) -> Any:
        """Return a kernel of a source, loaded when it is asked for first."""
        if (source, name) not in self._kernels:
            from cuda.core import ObjectCode

            code = b"" if source in self._modules else machine_code(source, self.arch)
            try:
                if source not in self._modules:
                    self._modules[source] = ObjectCode.from_cubin(code, name=source)
                self._kernels[source, name] = self._modules[source].get_kernel(name)
            except Exception as error:
                raise _as_cuda_error(error, f"loading {source} on {self.name}") from error
        return self._kernels[source, name]

    def checked(self, result: tuple[Any, ...], asked: str) -> Any:
        """Return what a function of the driver gave, or raise what it says."""
        return _checked(self._driver, result, asked)


class CudaStream:
    """A stream of a `CudaDevice`; see `Stream`."""

    def __init__(self, device: CudaDevice, stream: Any, driver: Any) -> None:
        from cuda.core import LaunchConfig, launch

        self._device, self._stream, self._driver = device, stream, driver
        self._config: Callable[..., Any] = LaunchConfig
        self._launch: Callable[..., None] = launch

    def copy_in(self, to: int, source: np.ndarray) -> None:
        """See `Stream.copy_in`."""
        if source.nbytes:
            at, handle = source.ctypes.data, self._stream.handle
            done = self._driver.cuMemcpyHtoDAsync(to, at, source.nbytes, handle)
            self._device.checked(done, f"copying {source.nbytes} bytes to {self._device.name}")

    def copy_out(self, to: np.ndarray, source: int) -> None:
        """See `Stream.copy_out`."""
        if to.nbytes:
            at, handle = to.ctypes.data, self._stream.handle
            done = self._driver.cuMemcpyDtoHAsync(at, source, to.nbytes, handle)
            self._device.checked(done, f"copying {to.nbytes} bytes from {self._device.name}")

    def fill(self, to: int, byte: int, nbytes: int) -> None:
        """See `Stream.fill`."""
        done = self._driver.cuMemsetD8Async(to, byte, nbytes, self._stream.handle)
        self._device.checked(done, f"filling {nbytes} bytes of {self._device.name}")

    def launch(
        self, source: str, kernel: str, blocks: int, shared: int, *arguments: Argument
    ) -> None:
        """See `Stream.launch`."""
        found = self._device.kernel(source, kernel)
        try:
            config = self._config(grid=blocks, block=THREADS, shmem_size=shared)
            # cuda.core takes a plain int for an address, and NumPy's numbers at their width.
            self._launch(self._stream, config, found, *arguments)
        except Exception as error:
            asked = f"{kernel} of {blocks} blocks, {shared} bytes, {arguments}"
            raise _as_cuda_error(error, asked) from error

    def synchronise(self) -> None:
        """See `Stream.synchronise`."""
        try:
            self._stream.sync()
        except Exception as error:
            raise _as_cuda_error(error, self._device.name) from error


def _checked(driver: Any, result: tuple[Any, ...], asked: str) -> Any:
    error, *values = result
    if error != driver.CUresult.CUDA_SUCCESS:
        words = []
        for _, part in (driver.cuGetErrorName(error), driver.cuGetErrorString(error)):
            words.append(part.decode() if isinstance(part, bytes) else str(part))
        full = error == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY
        raise (OutOfDeviceMemory if full else CudaError)(f"{asked}: {', '.join(words)}")
    return values[0] if values else None


def _as_cuda_error(error: Exception, asked: str) -> CudaError:
    """Return what cuda.core raised as an error of ours that says what was asked."""
    full = "OUT_OF_MEMORY" in str(error)
    return (OutOfDeviceMemory if full else CudaError)(f"{asked}: {error}")

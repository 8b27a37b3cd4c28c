"""What is measured around a piece of work: seconds, memory, and on which machine."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import psutil
import torch

from spark_ctr.version import __version__

_LIBRARIES = ("pyspark", "torch", "numpy", "pyarrow")
# A sample of a JVM of a few GiB walks its page tables for some milliseconds.
_SAMPLE_SECONDS = 1.0
_MIB = 1 << 20


def seconds(call: Callable[[], Any], repeats: int = 1) -> list[float]:
    """Wall-clock time of each of ``repeats`` calls, in seconds, in the order they ran.

    Raises
    ------
    ValueError
        If ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def cpu_seconds() -> float:
    """CPU time of this process and all its descendants so far, in seconds.

    Of a piece of work it says more than wall-clock time where other programs use the cores too.
    Descendants that ended count once their parent has waited for them.
    """
    return sum(map(_used_seconds, _process_tree()))


class PeakMemory:
    """Peak memory of this process and all its descendants: driver, JVM and Python workers.

    Pages that processes share are divided between them (proportional set size) where the system
    says how many do, as Linux does; elsewhere resident sets are added up. Sampled once a second
    in a thread, and at either end of the block.

    Attributes
    ----------
    mebibytes : float
        Highest sum seen so far.

    Examples
    --------
    >>> with PeakMemory() as memory:
    ...     block = bytearray(64 << 20)
    >>> memory.mebibytes > 64
    True
    """

    def __init__(self) -> None:
        self.mebibytes = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self.mebibytes = max(self.mebibytes, sum(map(_used_bytes, _process_tree())) / _MIB)


def _process_tree() -> list[psutil.Process]:
    driver = psutil.Process()
    return [driver, *driver.children(recursive=True)]


def _used_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def _used_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended, or became a zombie
        return 0
    return getattr(memory, "pss", memory.rss)


def machine() -> list[str]:
    """Lines that say where the numbers come from: versions, CPU, SIMD, cores, load."""
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        f"python {platform.python_version()}, {libraries}, spark_ctr {__version__}",
        f"CPU {_cpu_model()}, SIMD {_simd()}, {_cores()} cores",
        f"torch threads {torch.get_num_threads()}",
        f"load average before the run (1, 5, 15 minutes): {load}",
    ]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _cpu_model() -> str:
    """Name of the CPU; Python's platform module does not know it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _simd() -> str:
    """Widest SIMD that torch found on this CPU, and tiles (AMX), which multiply matrices faster."""
    found = torch.backends.cpu.get_cpu_capability()
    named = {"AVX512": "AVX-512", "AVX2": "AVX2 only"}.get(found, found)
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return f"{named} with AMX" if tiles else named


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

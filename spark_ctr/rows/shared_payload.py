"""A model's bytes in Spark's workers: one file on a host that all of them map.

Spark gives the Python workers of an executor a folder (``SPARK_LOCAL_DIRS``) and removes it with
the executor. The first worker that needs a model writes it there, the others wait for it, and all
map it read-only, so that its pages are in memory once. Without such a folder, or where anything
goes wrong with it, each worker has the bytes in memory of its own, with the same scores.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import mmap
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # on Windows, where workers do not share
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("spark_ctr")

_LEAST_BYTES = 1 << 20  # less is not worth a file
# What this process maps, by digest, as long as a predictor reads it.
_open: WeakValueDictionary[str, mmap.mmap] = WeakValueDictionary()


class Payload:
    """Bytes that travel with the plan of a query.

    Parameters
    ----------
    data : bytes
    shared : bool
        Whether who reads them can do with a memoryview; see `read`.
    digest : str, optional
        SHA-256 of the bytes, if it is known.
    """

    def __init__(self, data: bytes, shared: bool = False, digest: str | None = None) -> None:
        self._data: bytes | memoryview = data
        self._shared = shared
        self.digest = digest or hashlib.sha256(data).hexdigest()

    def __reduce__(self) -> tuple[type[Payload], tuple[bytes, bool, str]]:
        return Payload, (bytes(self._data), self._shared, self.digest)

    def read(self) -> bytes | memoryview:
        """Return the bytes; of shared ones a view of what the workers of this executor map.

        The bytes themselves are let go then, so that this process does not keep them too.
        """
        if self._shared and len(self._data) >= _LEAST_BYTES and isinstance(self._data, bytes):
            mapped = _open.get(self.digest) or _mapped(self.digest, self._data)
            _open[self.digest] = mapped
            self._data = memoryview(mapped)
            _forget_broadcasts(self.digest)
        return self._data


def _mapped(digest: str, data: bytes) -> mmap.mmap:
    """Return a mapping of the bytes that is shared if possible, else of this process alone."""
    folders = os.environ.get("SPARK_LOCAL_DIRS")
    if folders and fcntl is not None:
        folder = Path(folders.split(",")[0]) / f"spark_ctr-{os.geteuid()}"
        try:
            return _shared(folder, digest, data)
        except OSError as error:
            # Its own text would name a file of a name of its own, and be said each time.
            reason = error.strerror or error
            _say(f"each Python worker has a model in its own memory, not from {folder}: {reason}")
    private = mmap.mmap(-1, len(data))
    private.write(data)
    return private


def _shared(folder: Path, digest: str, data: bytes) -> mmap.mmap:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    owned = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not owned or stat.S_IMODE(found.st_mode) & 0o077:
        raise OSError("it is no folder of this user alone")
    file = folder / digest
    mapped = _opened(file, digest, len(data))
    if mapped is None:
        with _locked(folder):  # so that one worker writes, and the others wait
            mapped = _opened(file, digest, len(data))
            if mapped is None:
                _write(file, data)
                mapped = _opened(file, digest, len(data))
    if mapped is None:
        raise OSError(f"{file} does not hold what was written to it")
    return mapped


def _opened(file: Path, digest: str, size: int) -> mmap.mmap | None:
    """Map a file; None if it is not there, or holds other bytes than its name says."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(opened).st_size == size:
            mapped = mmap.mmap(opened, size, access=mmap.ACCESS_READ)
            if hashlib.sha256(mapped).hexdigest() == digest:
                return mapped
    finally:
        os.close(opened)
    _say(f"{file} held other bytes than the model's, and is written anew")
    return None


def _write(file: Path, data: bytes) -> None:
    """Write a file that has its name only when it is whole."""
    opened, unfinished = tempfile.mkstemp(prefix=".", dir=file.parent)  # of mode 0600
    try:
        with open(opened, "wb") as stream:
            stream.write(data)
        os.replace(unfinished, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system gives it back for a process that is killed."""
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _forget_broadcasts(digest: str) -> None:
    """Have PySpark let go of unpickled commands with this payload, which hold the bytes once more.

    Classic Spark broadcasts commands above 1 MB, and a worker keeps what it read of a broadcast as
    long as the driver does. From its file it reads it again when it is asked for it.
    """
    module = sys.modules.get("pyspark.core.broadcast") or sys.modules.get("pyspark.broadcast")
    for broadcast in list(getattr(module, "_broadcastRegistry", {}).values()):
        held = vars(broadcast)
        value = held.get("_value")
        if held.get("_path") and isinstance(value, bytes) and digest.encode() in value:
            del broadcast._value


@functools.cache
def _say(what: str) -> None:
    logger.warning("%s", what)

"""A full disk, said in a sentence: what was written, where, and how much room it takes."""

from __future__ import annotations

import errno
import os
import shutil

from pyarrow import fs

from spark_ctr.location import filesystem_of

_SIGNS = ("no space left on device", "enospc", "disk quota exceeded", "not enough space")


def is_full_disk(error: BaseException) -> bool:
    """Tell whether an error, of Java too, comes of a full disk."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def free_bytes(folder: str) -> int | None:
    """Free bytes where a local folder is; None elsewhere."""
    filesystem, path, _ = filesystem_of(folder)
    if not isinstance(filesystem, fs.LocalFileSystem):
        return None
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def full_disk(
    what: str, folder: str, setting: str, needed: int | None, free: int | None
) -> OSError:
    """Return the error for a disk that is full.

    Parameters
    ----------
    what : str
        What was being written.
    folder : str
    setting : str
        Param that names the folder.
    needed, free : int or None
        Bytes that it takes, and that were free; None where nobody knows.
    """
    room = [] if needed is None else [f"about {size(needed)} are needed"]
    room += [] if free is None else [f"{size(free)} were free"]
    told = f" ({', '.join(room)})" if room else ""
    return OSError(
        errno.ENOSPC,
        f"no space left while writing {what} to {folder}{told}: make room there or set {setting} "
        "to a folder with more",
    )


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"

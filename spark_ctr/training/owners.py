"""Names that tell whether the process that made a folder still runs."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path

# Machine (with its boot and namespace of processes), process, and when that started.
_OWNER = re.compile(r"\b([0-9a-f]{12})\.(\d+)\.(\d+)\b")

_UNKNOWN = "unknown.owner"


def owner() -> str:
    """Return a part of a name for what this process makes, which only Linux can tell apart."""
    machine = _machine()
    if machine is None:
        return _UNKNOWN
    return f"{machine}.{os.getpid()}.{_started(os.getpid())}"


def has_owner(name: str) -> bool:
    """Tell whether a name holds what `owner` returned to some process."""
    return bool(_OWNER.search(name)) or _UNKNOWN in name


def is_left_behind(name: str) -> bool:
    """Tell whether a name has the `owner` of a process of this machine that is no more.

    False for other machines, containers and boots, of whose processes nothing is known here, and
    for a name without an owner.
    """
    found = _OWNER.search(name)
    if found is None or found[1] != _machine():
        return False
    return _started(int(found[2])) != found[3]


@cache
def _machine() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    return hashlib.sha256(f"{boot}{processes}".encode()).hexdigest()[:12]


def _started(process: int) -> str | None:
    """Clock ticks from boot to the start of a process; None where there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold blanks; the start is the 22nd field.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]

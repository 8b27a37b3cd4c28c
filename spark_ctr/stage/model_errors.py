"""The one error of saved models, and one line out of what Spark says in thousands."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = ("No space left on device", "Disk quota exceeded", "not enough space", "DSQuotaExceeded")
_LONGEST = 300


class ModelFileError(ValueError):
    """A saved model that cannot be read or written; names the part and the reason.

    It is missing, truncated, altered, not finished, of a newer version, holds what no stage writes,
    or lies where it cannot be written.
    """


@contextmanager
def part_of_model(part: str) -> Iterator[None]:
    """Turn whatever goes wrong with a part of a saved model into a ModelFileError that names it."""
    try:
        yield
    except ModelFileError:
        raise
    except Exception as error:  # libraries raise types of their own for damaged data
        # Without the cause: it is the trace of a library that the user did not call.
        raise ModelFileError(f"{part}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """Return the innermost reason of an error in one line, without Java's traces."""
    text = str(error)
    full = next((words for words in _FULL if words in text), None)
    if full is not None:
        return full
    if isinstance(error, KeyError):
        return f"{text} is missing"
    causes = re.findall(r"^\s*Caused by: (.+)$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line.strip()]
    # Py4J puts a line of its own before Java's.
    java = [line for line in lines if not line.startswith("An error occurred while calling")]
    line = (causes[-1:] or java[:1] or [type(error).__name__])[0].strip().removeprefix(": ")
    line = re.sub(r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error): ", "", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def is_full(reason: str) -> bool:
    """Whether a reason says that there is no room left."""
    return reason in _FULL


def room(path: str, needed: int) -> str:
    """Say how many bytes are needed, and how many are free where that can be seen from here."""
    said = f"about {_bytes(needed)} are needed"
    local = path.removeprefix("file://").removeprefix("file:")
    if ":" in local.split("/")[0] or not os.path.isdir(local):
        return said
    usage = shutil.disk_usage(local)
    return f"{said}, {_bytes(usage.free)} of {_bytes(usage.total)} are free"


def _bytes(number: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000  # type: ignore[assignment]
    return f"{number:,.1f} GB"

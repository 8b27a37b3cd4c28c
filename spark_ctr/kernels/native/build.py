"""Build the library of native kernels beside this file: ``python -m`` this module.

Needs a C compiler (``CC``, else cc, gcc or clang) and nothing else, so that set-up can run it as a
file. The library works on every processor of the architecture: it chooses among instruction sets
when a program is prepared.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / "spark_ctr_native.so"
COMPILERS = ("cc", "gcc", "clang")
# Without fused multiply-add, and without anything that changes what is computed.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
SHARED = ("-shared", "-fPIC", "-fvisibility=hidden")


def compiler() -> list[str] | None:
    """Return the command of the C compiler, or None where there is none."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    return None if found is None else [found]


def sources() -> list[Path]:
    """Return the C files."""
    return sorted(HERE.glob("*.c"))


def build(target: Path = LIBRARY, *, extra: Sequence[str] = ()) -> Path:
    """Compile the library.

    Parameters
    ----------
    target : Path
        File to write; one that is in use is replaced, not overwritten.
    extra : sequence of str
        More options of the compiler.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    RuntimeError
        If there is no compiler, or it fails; with its output.
    """
    command = compiler()
    if command is None:
        raise RuntimeError(f"no C compiler: none of {', '.join(COMPILERS)} is on the path")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        files = map(str, sources())
        command = [*command, *FLAGS, *SHARED, *extra, *files, "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
        os.replace(made, target)
    return target


if __name__ == "__main__":
    try:
        print(build())
    except (OSError, RuntimeError) as error:
        print(f"no native kernels, NumPy computes instead: {error}", file=sys.stderr)

"""Machine code of the CUDA sources: what the wheel brings, else compiled where it is needed."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from spark_ctr.kernels.cuda.compiler import compile_kernels
from spark_ctr.kernels.cuda.sources import source_folder

# What `spark_ctr.kernels.cuda.build` fills, so that executors need no compiler.
FOLDER = Path(__file__).resolve().parent / "cubins"
# The file in it that says of which sources.
MARK = "sources.sha256"


def machine_code(source: str, arch: str, *, folder: Path = FOLDER) -> bytes:
    """Return the machine code of a source.

    Parameters
    ----------
    source : str
        Name without its suffix, such as ``"embedding"``.
    arch : str
        Such as ``"sm_90"``.
    folder : Path
        Where compiled sources are, ``ARCH/SOURCE.cubin``; not used if they are of other sources.

    Raises
    ------
    CompilerMissingError
        If it is not there, and neither is a compiler.
    CompileError
        If the compiler refuses the source.
    """
    compiled, mark = folder / arch / f"{source}.cubin", folder / MARK
    if compiled.is_file() and mark.is_file() and mark.read_text().strip() == source_digest():
        return compiled.read_bytes()
    return compile_kernels(source, arch).cubin


@functools.cache
def source_digest() -> str:
    """Return the SHA-256 of the sources and their headers."""
    digest = hashlib.sha256()
    for file in sorted(source_folder().iterdir()):
        if file.suffix in (".cu", ".h"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()

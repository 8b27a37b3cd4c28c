"""Compile the CUDA sources into the package: ``python -m spark_ctr.kernels.cuda.build``."""

from __future__ import annotations

from pathlib import Path

from spark_ctr.kernels.cuda.compiler import ARCHITECTURES, compile_kernels
from spark_ctr.kernels.cuda.cubins import FOLDER, MARK, source_digest

# What programs launch.
SOURCES = ("binary_linear", "elements", "embedding", "integer_linear", "pack_signs", "student")


def build(folder: Path = FOLDER) -> list[Path]:
    """Compile every source that programs need for every architecture.

    Parameters
    ----------
    folder : Path
        Files are ``ARCH/SOURCE.cubin`` in it.

    Returns
    -------
    list of Path

    Raises
    ------
    CompilerMissingError, CompileError
    """
    written = []
    for arch in ARCHITECTURES:
        (folder / arch).mkdir(parents=True, exist_ok=True)
        for source in SOURCES:
            written.append(folder / arch / f"{source}.cubin")
            written[-1].write_bytes(compile_kernels(source, arch).cubin)
    (folder / MARK).write_text(source_digest() + "\n", encoding="ascii")
    return written


if __name__ == "__main__":
    files = build()
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} files, {size:,} bytes in {FOLDER}")

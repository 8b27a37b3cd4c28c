"""Machine code of the CUDA sources: what the wheel brings, else compiled where it is needed."""

from __future__ import annotations

from pathlib import Path

from spark_ctr.kernels.cuda.compiler import compile_kernels

# Set-up compiles into it where it can, and an executor then needs no compiler.
FOLDER = Path(__file__).resolve().parent / "cubins"


def machine_code(source: str, arch: str, *, folder: Path = FOLDER) -> bytes:
    """Return the machine code of a source.

    Parameters
    ----------
    source : str
        Name without its suffix, such as ``"embedding"``.
    arch : str
        Such as ``"sm_90"``.
    folder : Path
        Where compiled sources are, ``ARCH/SOURCE.cubin``.

    Raises
    ------
    CompilerMissingError
        If it is not there, and neither is a compiler.
    CompileError
        If the compiler refuses the source.
    """
    compiled = folder / arch / f"{source}.cubin"
    if compiled.is_file():
        return compiled.read_bytes()
    return compile_kernels(source, arch).cubin

"""Compiling CUDA sources with NVRTC, which needs neither a device nor a driver."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from spark_ctr.kernels.cuda.sources import source_folder

# What binary_linear.cu is for; later architectures have no 1-bit products.
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90")


class CompilerMissingError(RuntimeError):
    """cuda.core or NVRTC cannot be loaded."""


class CompileError(RuntimeError):
    """NVRTC refused a source or an architecture; the message carries its log."""


@dataclass(frozen=True)
class CompiledKernels:
    """The kernels of one source for one architecture.

    Parameters
    ----------
    name, arch : str
        Name of the source without its suffix, and the architecture.
    cubin : bytes
        Machine code, an ELF file.
    log : str
        What the compiler said: warnings, and the registers and spills of each kernel.
    """

    name: str
    arch: str
    cubin: bytes
    log: str


def compile_kernels(name: str, arch: str, *, folder: Path | None = None) -> CompiledKernels:
    """Compile a CUDA source for an architecture.

    Parameters
    ----------
    name : str
        Name of the source without its suffix, such as ``"binary_linear"``.
    arch : str
        Architecture, such as ``"sm_90"``.
    folder : Path, optional
        Folder of the source and its headers; by default `source_folder`.

    Returns
    -------
    CompiledKernels
        Machine code and log.

    Raises
    ------
    FileNotFoundError
        If there is no such source.
    CompilerMissingError
        If cuda.core or NVRTC is not installed.
    CompileError
        If the compiler refuses; with its log.
    """
    folder = source_folder() if folder is None else folder
    source = folder / f"{name}.cu"
    code = source.read_text(encoding="utf-8")
    try:
        from cuda.core import Program, ProgramOptions
        from cuda.pathfinder import DynamicLibNotFoundError
    except ImportError as error:
        raise CompilerMissingError(
            f"cuda.core cannot be imported ({error}); pip install 'spark_ctr[gpu]'"
        ) from error
    log = io.StringIO()
    try:
        options = ProgramOptions(
            name=source.name,
            arch=arch,
            std="c++17",
            include_path=str(folder),
            # Scores have the CPU's bits: no fused rounding, no flushed subnormal numbers.
            fma=False,
            ftz=False,
            ptxas_options=["-v"],
        )
        cubin = bytes(Program(code, "c++", options).compile("cubin", logs=log).code)
    except DynamicLibNotFoundError as error:
        raise CompilerMissingError(f"NVRTC cannot be loaded: {error}") from error
    except Exception as error:  # the type of NVRTC's errors is private to cuda.core
        raise CompileError(f"{source.name} for {arch}: {error}\n{log.getvalue()}") from error
    return CompiledKernels(name, arch, cubin, log.getvalue().rstrip("\0\n"))

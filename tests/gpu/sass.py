"""Machine code of compiled kernels, disassembled with nvdisasm."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

INSTRUCTION = re.compile(r"/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
LABEL = re.compile(r"^(\.L_\w+):")
TARGET = re.compile(r"\((\.L_\w+)\)")


def disassembler():
    """Path of nvdisasm, or None."""
    try:
        from cuda.pathfinder import find_nvidia_binary_utility
    except ImportError:
        return shutil.which("nvdisasm")
    return find_nvidia_binary_utility("nvdisasm") or shutil.which("nvdisasm")


@dataclass(frozen=True)
class Kernel:
    """Opcodes of a kernel, with all their suffixes, and of each of its loops.

    A loop is what lies between a label and a branch back to it.
    """

    opcodes: list[str]
    loops: list[list[str]]


def kernels_of(cubin: bytes, folder: Path) -> dict[str, Kernel]:
    """Disassemble all kernels of a cubin."""
    file = folder / "kernels.cubin"
    file.write_bytes(cubin)
    command = [disassembler(), "--print-code", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    parts = re.split(r"\.section\s+\.text\.(\w+),", done.stdout)
    return {name: _kernel(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _kernel(text: str) -> Kernel:
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    loops: list[list[str]] = []
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif found := INSTRUCTION.search(line):
            opcodes.append(found[2])
            target = TARGET.search(found[3])
            # An endless loop of one branch follows the last instruction.
            if found[2].startswith("BRA") and target and target[1] in labels:
                loop = opcodes[labels[target[1]] :]
                loops += [loop] if len(loop) > 1 else []
    return Kernel(opcodes, loops)


def registers_and_memory(log: str) -> dict[str, tuple[int, int]]:
    """Registers, and bytes of stack and spills, of each kernel, from the compiler's log."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        local = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", part)
        registers = re.search(r"Used (\d+) registers", part)
        found[part.split("'")[0]] = (int(registers[1]), sum(map(int, local.groups())))
    return found

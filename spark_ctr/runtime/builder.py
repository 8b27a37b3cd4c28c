"""Writing of programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spark_ctr.runtime.header import FORMAT_VERSION
from spark_ctr.runtime.program import FIRST, Operand, Program
from spark_ctr.runtime.shapes import Shape
from spark_ctr.tables import Inputs


class ProgramBuilder:
    """Adds operations one by one, and leaves out what the logits do not need.

    Parameters
    ----------
    inputs : Inputs
    arrays : dict of str to ndarray
        Grows by `constant`.
    """

    def __init__(self, inputs: Inputs, arrays: dict[str, np.ndarray]) -> None:
        self.inputs, self.arrays = inputs, arrays
        self._program = Program(inputs, arrays)
        self._described: list[dict[str, Any]] = []

    def add(self, kind: str, *of: Operand, **arguments: Any) -> int:
        """Add an operation and return the number of its result.

        Raises
        ------
        ValueError
            If it does not fit its operands.
        """
        number = self._program.add(kind, list(of), arguments)
        self._described.append({"result": number, "kind": kind, "of": list(of), **arguments})
        return number

    def shape(self, value: Operand) -> Shape:
        """Return the shape of a value."""
        return self._program.shape(value)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Keep a float32 array and return its name, by which operations take it as an operand."""
        self.arrays[name] = np.ascontiguousarray(array, dtype=np.float32)
        return name

    def concat(self, parts: Sequence[int], axis: int) -> int:
        """Put values side by side; what has nothing along the axis is left out."""
        full = [part for part in parts if self.shape(part)[axis]] or list(parts[:1])
        return full[0] if len(full) == 1 else self.add("concat", *full, axis=axis)

    def reshape(self, value: int, *shape: int) -> int:
        """Bring a value to a shape, given without the rows; one number may be -1."""
        size = math.prod(self.shape(value)[1:])
        known = math.prod(n for n in shape if n != -1)
        wanted = [size // max(known, 1) if n == -1 else n for n in shape]
        while value >= FIRST and self._described[value - FIRST]["kind"] == "reshape":
            value = self._described[value - FIRST]["of"][0]
        if list(self.shape(value)[1:]) == wanted:
            return value
        return self.add("reshape", value, shape=wanted)

    def position(self, value: int, axis: int, position: int) -> int:
        """Take one position of an axis, which is gone from the result."""
        shape = self.shape(value)
        part = value
        if shape[axis] != 1:
            part = self.add("slice", value, axis=axis, start=position, stop=position + 1)
        return self.reshape(part, *shape[1:axis], *shape[axis + 1 :])

    def fold(self, value: int, factor: np.ndarray, shift: np.ndarray) -> None:
        """Have the outputs of a linear layer, each, go through ``outputs * factor + shift``.

        The layer's own arrays change, so no other operation may use it.
        """
        one = self._described[value - FIRST]
        for part in ("scale", "minimum", "bias"):
            name = f"{one['layer']}.{part}"
            if name in self.arrays:
                self.arrays[name] = self.arrays[name] * factor
        bias = f"{one['layer']}.bias"
        self.arrays[bias] = self.arrays[bias] + shift if bias in self.arrays else shift
        if "bias" in one:
            one["bias"] = True

    def build(
        self, logits: int, tasks: Sequence[str], network: str
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return header and arrays of a model whose logits are a value [B] or [B, T]."""
        logits = self.reshape(logits, len(tasks))
        if logits < FIRST:  # a column as it is
            logits = self.add("reshape", logits, shape=[len(tasks)])
        needed = {logits}
        for number in range(logits, FIRST - 1, -1):
            if number in needed:
                needed.update(self._values(number))
        kept = [number for number in range(FIRST, logits + 1) if number in needed]
        new = {number: FIRST + i for i, number in enumerate(kept)}
        program = Program(self.inputs, self.arrays)
        operations = []
        for number in kept:
            one = self._described[number - FIRST]
            of = [new.get(o, o) if isinstance(o, int) else o for o in one["of"]]
            rest = {k: v for k, v in one.items() if k not in ("result", "kind", "of")}
            operations.append({**one, "result": program.add(one["kind"], of, rest), "of": of})
        header: Mapping[str, Any] = {
            "format_version": FORMAT_VERSION,
            "network": network,
            "tasks": list(tasks),
            "inputs": self.inputs.to_dict(),
            "operations": operations,
            "logits": new[logits],
        }
        return dict(header), {name: self.arrays[name] for name in sorted(program.weights.read)}

    def _values(self, number: int) -> list[int]:
        return [o for o in self._described[number - FIRST]["of"] if isinstance(o, int)]

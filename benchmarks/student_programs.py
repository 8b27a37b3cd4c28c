"""Students of random weights, as packed programs and for peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from spark_ctr.kernels import pack_index4, pack_signs
from spark_ctr.kernels.index4 import MOST_FACTOR, MOST_NIBBLE
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs, Table

# Levels for a difference of 1 in what goes into the layers.
_STEPS = 32.0


@dataclass(frozen=True)
class Shape:
    """Columns of a student.

    Attributes
    ----------
    columns, dim, numbers, rows : int
        Categorical columns, the width of their embeddings, numeric columns, rows of a table.
    """

    columns: int
    dim: int
    numbers: int
    rows: int

    def __str__(self) -> str:
        return f"{self.columns} x {self.dim} + {self.numbers}"

    @property
    def width(self) -> int:
        """Inputs of the first layer."""
        return self.columns * self.dim + self.numbers

    def inputs(self) -> Inputs:
        """Return the columns."""
        tables = (Table(f"c{i}", self.rows, self.dim) for i in range(self.columns))
        return Inputs(tuple(tables), tuple(f"n{i}" for i in range(self.numbers)))

    def batch(self, rows: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return ids, int32 [rows, columns], and numbers, float32."""
        ids = draw.integers(0, self.rows, (rows, self.columns), dtype=np.int32)
        return ids, draw.standard_normal((rows, self.numbers)).astype(np.float32)


class Weights:
    """Random weights of an MLP of one output on embeddings and numbers.

    Attributes
    ----------
    table : ndarray [columns * rows, dim], int8
        Embeddings are a 32nd of it.
    layers : list of (ndarray [N, K], ndarray [N])
        float32 weights and biases.
    """

    def __init__(self, shape: Shape, hidden: Sequence[int], seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.shape = shape
        size = shape.columns * shape.rows, shape.dim
        self.table = draw.integers(-127, 128, size, dtype=np.int8)
        widths = [shape.width, *hidden, 1]
        self.layers = [
            (
                (draw.standard_normal((n, k)) / np.sqrt(k)).astype(np.float32),
                draw.normal(0, 0.1, n).astype(np.float32),
            )
            for k, n in pairwise(widths)
        ]

    @property
    def float_table(self) -> np.ndarray:
        """The embeddings, float32."""
        return self.table.astype(np.float32) / np.float32(_STEPS)

    def program(
        self, *, one_bit: bool, levels: bool, coarse: bool = False
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a packed program.

        Parameters
        ----------
        one_bit : bool
            Whether the layers but the first and the last have 1 bit; else all have 8.
        levels : bool
            Whether the inputs of 8-bit layers have 8 bits too; else they are float32.
        coarse : bool
            Whether the rows of tables have 4 bits.
        """
        shape, step = self.shape, np.float32(1 / _STEPS)
        arrays = {"tables.index": self.table}
        few = {}
        if coarse:
            nibbles = np.rint((self.table / MOST_FACTOR + MOST_NIBBLE) / 2).clip(0, MOST_NIBBLE)
            arrays["tables.index"] = self.table[:0]
            arrays["tables.nibbles"] = pack_index4(nibbles, np.full(len(nibbles), MOST_FACTOR))
            few = {"coarse": [[0, shape.rows]] * shape.columns}
        arrays["tables.scale"] = np.full(shape.columns, step)
        arrays["tables.minimum"] = np.full(shape.columns, np.float32(-128) * step)
        builder = ProgramBuilder(shape.inputs(), arrays)
        columns = list(range(shape.columns))
        x = builder.add("embed", columns=columns, layers=["tables"] * shape.columns, **few)
        x = builder.concat([x, NUMERIC], 1)
        for i, (weight, bias) in enumerate(self.layers):
            last, layer = i == len(self.layers) - 1, f"layer{i}"
            if one_bit and i > 0 and not last:
                arrays[f"{layer}.signs"] = pack_signs(weight)
                arrays[f"{layer}.scale"] = np.abs(weight).mean(axis=1)
                arrays[f"{layer}.bias"] = bias
                x = builder.add("binary_linear", x, layer=layer)
            elif levels:
                zero, steps = (128, _STEPS) if i == 0 else (0, _STEPS / 2)
                scale = np.abs(weight).max(axis=1) / 127
                arrays[f"{layer}.inverse"] = np.array([steps], np.float32)
                arrays[f"{layer}.index"] = np.rint(weight / scale[:, None]).astype(np.int8)
                arrays[f"{layer}.scale"] = (scale / steps).astype(np.float32)
                arrays[f"{layer}.bias"] = bias
                quantised = builder.add("quantise", x, layer=layer, zero=zero)
                x = builder.add("integer_linear", quantised, layer=layer, zero=zero)
            else:
                scale = np.abs(weight).max() / 127
                arrays[f"{layer}.index"] = np.rint(weight / scale).astype(np.int8)
                arrays[f"{layer}.scale"] = np.array([scale], np.float32)
                arrays[f"{layer}.minimum"] = np.array([-128 * scale], np.float32)
                arrays[f"{layer}.bias"] = bias
                x = builder.add("linear", x, layer=layer, bias=True)
            if not last:
                x = builder.add("relu", x)
        return builder.build(x, ["click"], "dnn")

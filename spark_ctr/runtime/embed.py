"""The operation that looks up embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spark_ctr.kernels.index4 import MOST_FACTOR, row_bytes
from spark_ctr.runtime.lookup import Lookup, blocks_of
from spark_ctr.runtime.operation import Operation, Run, whole
from spark_ctr.runtime.shapes import BATCH, Shape
from spark_ctr.runtime.stacked_rows import Coarse, StackedRows


@dataclass(frozen=True)
class EmbeddingLayer:
    """The tables of some columns, of one width.

    Attributes
    ----------
    columns : list of int
        Positions of the columns.
    blocks : list of int
        Block of each.
    rows : StackedRows
    scale, minimum : ndarray [blocks], float32
        The affine map of each block.
    """

    columns: list[int]
    blocks: list[int]
    rows: StackedRows
    scale: np.ndarray
    minimum: np.ndarray


class Embed(Operation):
    """Embeddings of columns side by side, by quantised tables; its operand is always the ids.

    Attributes
    ----------
    parts : dict of str to EmbeddingLayer
        By name of the layer.
    """

    count = 0
    keys = ("columns", "layers")
    optional = ("coarse",)

    def layers(self) -> dict[str, str]:
        """See `Operation.layers`."""
        return dict.fromkeys(self.arguments["layers"], "int8")

    def _shape(self) -> Shape:
        tables, layers = self.inputs.tables, self.arguments["layers"]
        columns = self.integers("columns", 0, len(tables) - 1)
        if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
            raise ValueError(f"layers are {layers!r}")
        if len(set(columns)) < len(columns) or len(layers) != len(columns):
            raise ValueError(f"columns {columns} are looked up in layers {layers}")
        coarse = dict(zip(columns, self._coarse(columns), strict=True))
        self.parts: dict[str, EmbeddingLayer] = {}
        for name in dict.fromkeys(layers):
            held = [c for c, layer in zip(columns, layers, strict=True) if layer == name]
            self.parts[name] = self._layer(name, held, [coarse[c] for c in held])
        self._dims = {c: part.rows.dim for part in self.parts.values() for c in part.columns}
        return BATCH, sum(self._dims.values())

    def _coarse(self, columns: list[int]) -> list[Coarse]:
        """Return the rows of 4 bits of each column."""
        if "coarse" not in self.arguments:
            return [Coarse()] * len(columns)
        described = self.arguments["coarse"]
        if not isinstance(described, list) or len(described) != len(columns):
            raise ValueError(f"coarse is {described!r} for columns {columns}")
        found = []
        for column, one in zip(columns, described, strict=True):
            if not isinstance(one, list) or len(one) != 2:
                raise ValueError(f"coarse rows of column {column} are {one!r}")
            last = whole("last coarse row", one[1], 0, self.inputs.tables[column].rows)
            found.append(Coarse(whole("first coarse row", one[0], 0, last), last))
        return found

    def _layer(self, name: str, columns: list[int], coarse: list[Coarse]) -> EmbeddingLayer:
        blocks, rows = blocks_of(self.inputs.tables, columns)
        of_block = dict(zip(blocks, coarse, strict=True))
        if any(of_block[block] != one for block, one in zip(blocks, coarse, strict=True)):
            raise ValueError(f"columns of '{name}' share rows, and not which are coarse")
        found = [of_block[block] for block in range(len(rows))]
        few = sum(one.rows for one in found)
        index = self.weights.get(f"{name}.index", np.int8, sum(rows) - few, None)
        nibbles, dim = None, index.shape[1]
        if few:
            nibbles = self.weights.get(f"{name}.nibbles", np.uint8, few, row_bytes(dim))
            if nibbles[:, 0].min() < 1 or nibbles[:, 0].max() > MOST_FACTOR:
                raise ValueError(f"factors of '{name}' are not in [1, {MOST_FACTOR}]")
            if dim % 2 and (nibbles[:, -1] >> 4).any():
                raise ValueError(f"'{name}' has nibbles of numbers it has not")
        scale, minimum = (
            self.weights.get(f"{name}.{part}", np.float32, len(rows))
            for part in ("scale", "minimum")
        )
        stacked = StackedRows(index, nibbles, rows, found)
        return EmbeddingLayer(columns, blocks, stacked, scale, minimum)

    def prepare(self, into: int | None) -> Run:
        """See `Operation.prepare`."""
        lookups = [
            Lookup(self.inputs, part.columns, part.rows, part.scale, part.minimum)
            for part in self.parts.values()
        ]
        columns, width = self.arguments["columns"], self.shape[1]
        if len(lookups) == 1 and lookups[0].order == columns:
            look_up = lookups[0]
            return lambda ids: look_up(ids).reshape(len(ids), width)
        ends = np.cumsum([self._dims[c] for c in columns], dtype=np.int64).tolist()
        end_of = dict(zip(columns, ends, strict=True))

        def run(ids: np.ndarray) -> np.ndarray:
            embedded = np.empty((len(ids), width), dtype=np.float32)
            for look_up in lookups:
                values = look_up(ids)
                dim = values.shape[2]
                for j, column in enumerate(look_up.order):
                    embedded[:, end_of[column] - dim : end_of[column]] = values[:, j]
            return embedded

        return run

"""Programs at random of the operations that native kernels have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spark_ctr.kernels import pack_index4, pack_signs
from spark_ctr.kernels.index4 import MOST_FACTOR
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import PADDING, Inputs, Table

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 129, 257)
MOST = 2000  # elements of a row


class RandomProgram:
    """A program drawn step by step.

    Attributes
    ----------
    inputs : Inputs
    header, arrays
        What `PackedModel.from_arrays` takes.
    """

    def __init__(self, seed: int, steps: int = 8, tasks: int | None = None) -> None:
        self.draw = np.random.default_rng(seed)
        self.inputs = self._inputs()
        self.b = ProgramBuilder(self.inputs, {})
        self.names = 0
        self.values = [NUMERIC] if self.inputs.numeric else []
        if self.inputs.tables:
            self.values.append(self.embed())
        moves = [
            *(self.layers, self.layers, self.wide, self.pair, self.relu, self.sum, self.concat),
            *(self.slice, self.transpose, self.take, self.split, self.more),
        ]
        for _ in range(self.draw.integers(0, steps + 1)):
            value = moves[self.draw.integers(len(moves))]()
            if value is not None:
                self.values.append(value)
        self.tasks = int(self.draw.choice([1, 1, 2, 40])) if tasks is None else tasks
        last = self.flat(self.values[-1])
        if self.b.shape(last)[1] != self.tasks or self.draw.random() < 0.5:
            last = self.linear(last, self.tasks)
        names = [f"t{i}" for i in range(self.tasks)]
        self.header, self.arrays = self.b.build(last, names, "random")

    def rows(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return valid ids and numbers, some of them extreme."""
        kind = self.draw.choice([np.int32, np.int64])
        ids = np.zeros((count, self.inputs.ids_width), kind)
        for s, table in enumerate(self.inputs.slot_tables):
            ids[:, s] = self.draw.integers(table.lowest, table.rows, count)
            if table.padded:
                ids[self.draw.random(count) < 0.4, s] = PADDING
        numbers = self.draw.standard_normal((count, len(self.inputs.numeric)))
        chosen = self.draw.random(numbers.shape)
        numbers[chosen < 0.1] = 0
        numbers[chosen > 0.97] = 3e38
        return ids, numbers.astype(np.float32)

    # Inputs.

    def _inputs(self) -> Inputs:
        found: list[Table] = []
        draw = self.draw
        for i in range(draw.integers(0, 6)):
            table = Table(
                name=f"c{i}",
                rows=int(draw.integers(1, 40)),
                dim=int(draw.choice([1, 3, 4, 8, 16, 17])),
                slots=int(draw.choice([1, 1, 1, 2, 3])),
                pooling=str(draw.choice(["mean", "sum"])),
                signed=bool(draw.random() < 0.3),
                padded=bool(draw.random() < 0.3),
                shared=str(draw.choice(["", "", "s", "t"])),
            )
            first = next((t for t in found if t.shared and t.shared == table.shared), table)
            found.append(replace(table, rows=first.rows, dim=first.dim))
        numeric = draw.integers(0 if found else 1, 5)
        return Inputs(tuple(found), tuple(f"n{i}" for i in range(numeric)))

    def embed(self) -> int:
        """Look some columns up, in any order; those of a width share a layer, or not."""
        tables, draw, arrays = self.inputs.tables, self.draw, self.b.arrays
        chosen = draw.permutation(len(tables))[: draw.integers(1, len(tables) + 1)].tolist()
        together, name = draw.random() < 0.7, self.name("embedding")
        layers = [
            f"{name}.{tables[c].dim}" if together or tables[c].shared else f"{name}.{c}.own"
            for c in chosen
        ]
        coarse = {}
        for layer in set(layers):
            columns = [c for c, found in zip(chosen, layers, strict=True) if found == layer]
            blocks = {tables[c].shared or c: tables[c].rows for c in columns}
            dim, count = tables[columns[0]].dim, len(blocks)
            few = {key: self.coarse(rows) for key, rows in blocks.items()}
            coarse |= {c: few[tables[c].shared or c] for c in columns}
            rows = sum(last - first for first, last in few.values())
            arrays[f"{layer}.index"] = self.bytes(sum(blocks.values()) - rows, dim)
            if rows:
                nibbles = draw.integers(0, 16, (rows, dim))
                factor = draw.integers(1, MOST_FACTOR + 1, rows)
                arrays[f"{layer}.nibbles"] = pack_index4(nibbles, factor)
            # Steps of a power of two around 0: their levels may be the indices themselves.
            even = draw.random() < 0.5
            scale = np.full(count, 0.25) if even else draw.normal(0, 0.1, count)
            minimum = -128 * scale if even else draw.standard_normal(count)
            arrays[f"{layer}.scale"] = scale.astype(np.float32)
            arrays[f"{layer}.minimum"] = minimum.astype(np.float32)
        some = [coarse[c] for c in chosen]
        return self.b.add("embed", columns=chosen, layers=layers, coarse=some)

    def coarse(self, rows: int) -> list[int]:
        """Draw which rows of a block have 4 bits: none, some or all."""
        first, last = sorted(self.draw.integers(0, rows + 1, 2).tolist())
        if self.draw.random() < 0.5:
            first, last = (0, rows) if self.draw.random() < 0.3 else (0, 0)
        return [first, last]

    # Moves: each returns a new value, or None where there is nothing to move.

    def layers(self) -> int:
        """Draw a few layers on top of one another, with ReLU between some."""
        x = self.flat(self.any())
        for _ in range(self.draw.integers(1, 4)):
            x = self.linear(x, int(self.draw.choice(WIDTHS)))
            if self.draw.random() < 0.7:
                x = self.b.add("relu", x)
        return x

    def wide(self) -> int:
        """Draw a layer over the last of three axes, and another on top of it."""
        x = self.linear(self.split() or self.flat(self.any()), int(self.draw.choice([1, 3, 40])))
        return self.linear(x, int(self.draw.choice([1, 5, 33])))

    def relu(self) -> int:
        return self.b.add("relu", self.any())

    def pair(self) -> int:
        x, kind = self.any(), str(self.draw.choice(["add", "subtract", "multiply"]))
        shape = list(self.b.shape(x)[1:])
        same = [v for v in self.values if self.b.shape(v) == self.b.shape(x)]
        if self.draw.random() < 0.4:
            operands = [x, same[self.draw.integers(len(same))]]
        else:
            parts = [n if self.draw.random() < 0.6 else 1 for n in shape]
            parts = parts[self.draw.integers(0, len(parts)) :]
            numbers = self.draw.standard_normal(parts if self.draw.random() < 0.9 else ())
            operands = [x, self.b.constant(self.name("constant"), numbers)]
        if self.draw.random() < 0.3:
            operands.reverse()
        return self.b.add(kind, *operands)

    def sum(self) -> int:
        x = self.split() or self.any()
        return self.flat(self.b.add("sum", x, axis=self.axis(x)))

    def concat(self) -> int | None:
        parts = [self.flat(self.any()) for _ in range(self.draw.integers(1, 4))]
        if sum(self.b.shape(part)[1] for part in parts) > MOST:
            return None
        return self.b.add("concat", *parts, axis=1)

    def slice(self) -> int | None:
        x = self.split() or self.any()
        axis = self.axis(x)
        start, stop = sorted(self.draw.integers(0, self.b.shape(x)[axis] + 1, 2).tolist())
        if start == stop:
            return None
        return self.b.add("slice", x, axis=axis, start=start, stop=stop)

    def transpose(self) -> int | None:
        x = self.split()
        return x and self.b.add("transpose", x, axes=[0, *(1 + self.draw.permutation(2)).tolist()])

    def take(self) -> int:
        x = self.split() or self.any()
        axis = self.axis(x)
        positions = self.draw.integers(0, self.b.shape(x)[axis], self.draw.integers(1, 6))
        return self.b.add("take", x, axis=axis, positions=positions.tolist())

    def split(self) -> int | None:
        """Bring a value to three axes."""
        x = self.flat(self.any())
        width = self.b.shape(x)[1]
        factors = [n for n in (2, 3, 4, 5, 8) if width % n == 0]
        if not factors:
            return None
        factor = int(self.draw.choice(factors))
        return self.b.add("reshape", x, shape=[factor, width // factor])

    def more(self) -> int | None:
        return self.embed() if self.inputs.tables else None

    # Parts of moves.

    def linear(self, x: int, outputs: int) -> int:
        """Draw a layer of either kind."""
        if self.draw.random() < 0.4:
            return self.binary(x, outputs)
        return self.integer(x, outputs)

    def integer(self, x: int, outputs: int) -> int:
        inputs, layer, arrays = self.b.shape(x)[-1], self.name("integer"), self.b.arrays
        zero = int(self.draw.choice([0, 128, 255, self.draw.integers(256)]))
        steps = self.draw.uniform(0.5, 60, 1 if self.draw.random() < 0.5 else inputs)
        if self.draw.random() < 0.3:
            steps[:] = 4  # by which indices of even tables are levels
        arrays[f"{layer}.inverse"] = steps.astype(np.float32)
        arrays[f"{layer}.index"] = self.bytes(outputs, inputs)
        self.map(layer, outputs, inputs)
        levels = self.b.add("quantise", x, layer=layer, zero=zero)
        return self.b.add("integer_linear", levels, layer=layer, zero=zero)

    def binary(self, x: int, outputs: int) -> int:
        inputs, layer = self.b.shape(x)[-1], self.name("binary")
        self.b.arrays[f"{layer}.signs"] = pack_signs(self.draw.standard_normal((outputs, inputs)))
        self.map(layer, outputs, inputs)
        return self.b.add("binary_linear", x, layer=layer)

    def map(self, layer: str, outputs: int, inputs: int) -> None:
        """Draw scale and bias; outputs of whole numbers are 0 often."""
        scale = self.draw.normal(0, 1 / np.sqrt(inputs), outputs)
        bias = self.draw.standard_normal(outputs)
        whole = self.draw.random(outputs) < 0.4
        scale[whole] = self.draw.choice([-1, 0, 1], whole.sum())
        bias[whole] = self.draw.integers(-inputs - 1, inputs + 2, whole.sum())
        self.b.arrays[f"{layer}.scale"] = scale.astype(np.float32)
        self.b.arrays[f"{layer}.bias"] = bias.astype(np.float32)

    def bytes(self, *shape: int) -> np.ndarray:
        found = self.draw.integers(-128, 128, shape).astype(np.int8)
        if self.draw.random() < 0.1:
            found[:] = -128
        return found

    def any(self) -> int:
        return self.values[self.draw.integers(len(self.values))]

    def axis(self, x: int) -> int:
        return int(self.draw.integers(1, len(self.b.shape(x))))

    def flat(self, x: int) -> int:
        if len(self.b.shape(x)) == 1:
            return self.b.add("reshape", x, shape=[1])
        return self.b.reshape(x, -1)

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}.{self.names}"

"""Students, which one kernel computes: look-ups and numbers to levels, hidden layers, an output."""

import numpy as np

from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs, Table
from tests.runtime.random_programs import RandomProgram


class Student(RandomProgram):
    """A look-up of 8-bit rows and numbers, hidden layers of 8 bits and of 1, an output."""

    def __init__(self, seed):
        self.draw, self.names, self.tasks = np.random.default_rng(seed), 0, 1
        tables = [Table(f"c{i}", 30, 8, signed=i > 0, padded=i > 1) for i in range(3)]
        self.inputs = Inputs(tuple(tables), ("x", "y"))
        self.b = ProgramBuilder(self.inputs, {})
        value = self.b.concat([self.embed(), NUMERIC], axis=1)
        for layer, outputs in ((self.integer, 70), (self.binary, 40), (self.binary, 33)):
            value = self.b.add("relu", layer(value, outputs))
        self.end(self.integer(value, 1))

    def end(self, value):
        names = [f"t{i}" for i in range(self.tasks)]
        self.header, self.arrays = self.b.build(value, names, "dnn")


class RandomStudent(Student):
    """Any inputs, look-ups in any order and number, layers of either kind."""

    WIDTHS = (1, 2, 7, 8, 31, 33, 63, 64, 65, 100, 128, 129, 200, 257)

    def __init__(self, seed):
        self.draw, self.names = np.random.default_rng(seed), 0
        self.inputs = self._inputs()
        self.b = ProgramBuilder(self.inputs, {})
        parts = (
            [self.embed() for _ in range(self.draw.integers(1, 3))] if self.inputs.tables else []
        )
        parts += [NUMERIC] * (len(self.inputs.numeric) > 0)
        order = self.draw.permutation(len(parts)).tolist()
        value = self.b.concat([parts[i] for i in order], axis=1) if len(parts) > 1 else parts[0]
        value = self.hidden(self.integer, value)
        for _ in range(self.draw.integers(0, 4)):
            value = self.hidden(self.linear, value)
        self.tasks = int(self.draw.choice([1, 1, 2, 65]))
        value = self.linear(value, self.tasks)
        self.end(self.b.add("relu", value) if self.draw.random() < 0.2 else value)

    def hidden(self, layer, value):
        value = layer(value, int(self.draw.choice(self.WIDTHS)))
        return self.b.add("relu", value) if self.draw.random() < 0.7 else value

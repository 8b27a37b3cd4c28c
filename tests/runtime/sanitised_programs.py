"""Run by test_native_memory.py in a process whose native kernels watch their memory.

Usage: sanitised_programs.py LIBRARY PROGRAMS CHANGES
"""

import random
import sys

import numpy as np
from random_programs import RandomProgram

from spark_ctr.kernels.native import library
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.native import NativeExecution
from spark_ctr.runtime.native_words import native_words
from spark_ctr.runtime.planner import plan_of

ODD = [-(2**63), -(2**31), -1, 0, 1, 2, 3, 7, 31, 64, 255, 256, 2**15, 2**22, 2**31, 2**63 - 1]


def apart(array):
    """Return a copy in memory of its own, behind which nothing may be read."""
    return np.frombuffer(bytearray(array.tobytes()), array.dtype).reshape(array.shape)


def run(made: RandomProgram) -> None:
    """Run a program on batches of all heights around those of blocks."""
    arrays = {name: apart(array) for name, array in made.arrays.items()}
    program = read_program(made.header, arrays)
    for name in library.instruction_sets():
        execution = NativeExecution(program, made.tasks, name)
        for count in (0, 1, 3, 5, 8, 64, 65):
            ids, numeric = map(apart, made.rows(count))
            execution(ids, numeric, np.empty((count, made.tasks), np.float32))


def edges_of(words):
    """Return the least and the greatest id of each slot, as the words have them."""
    columns = [words[at : at + 5] for at in range(3, 3 + 5 * words[1], 5)]
    return [
        [-rows if signed else 0, rows - 1]
        for rows, slots, signed, *_ in columns
        for _ in range(slots)
    ]


def widths_of(words):
    """Return ids, numbers and logits of a row, as the words have them; small if they are odd."""
    if not 0 <= words[1] < 100 or len(words) < 5 + 5 * words[1]:
        return 0, 0, 1
    numbers, tasks = words[3 + 5 * words[1] : 5 + 5 * words[1]]
    return min(max(words[2], 0), 1 << 20), min(max(numbers, 0), 1 << 22), tasks


def run_changed(made: RandomProgram, draw: random.Random) -> bool:
    """Change a program behind the back of all checks of Python; returns whether it still ran."""
    program = read_program(made.header, made.arrays)
    words, arrays = native_words(plan_of(program), program.inputs, made.tasks)
    arrays = list(map(apart, arrays))
    for _ in range(draw.choice([1, 1, 2, 3])):
        at = draw.randrange(len(words))
        words[at] = draw.choice([words[at] + draw.choice([-1, 1, 2, 64]), draw.choice(ODD)])
        if draw.random() < 0.1:
            del words[at]
    words = [min(max(word, -(2**63)), 2**63 - 1) for word in words]
    name = draw.choice(library.instruction_sets())
    try:
        program = library.NativeProgram(words, arrays, widths_of(words), name)
    except ValueError as error:
        assert str(error)
        return False
    for count in (1, 20):
        rows = [[draw.choice(edge) for edge in edges_of(words)] for _ in range(count)]
        ids = np.array(rows, np.int32).reshape(count, -1)
        _, numbers, tasks = widths_of(words)
        numeric = np.ones((count, numbers), np.float32)
        program(apart(ids), apart(numeric), np.empty((count, tasks), np.float32))
    return True


def main() -> None:
    path, programs, changes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    library.LIBRARY = path
    assert library.library() is not None
    for seed in range(programs):
        run(RandomProgram(seed))
    draw = random.Random(0)
    made = [RandomProgram(seed, tasks=1) for seed in range(100)]
    ran = sum(run_changed(draw.choice(made), draw) for _ in range(changes))
    print(f"{programs} programs, {changes} changed, {ran} of them ran")


if __name__ == "__main__":
    main()

"""The header of a packed program: read, and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spark_ctr.runtime.program import FIRST, Program
from spark_ctr.runtime.shapes import BATCH, text
from spark_ctr.tables import Inputs

FORMAT_VERSION = 6
# Format 4 has no levels, and both have no rows of 4 bits; all else is the same.
READ_VERSIONS = (4, 5, FORMAT_VERSION)
_KEYS = {"format_version", "network", "tasks", "inputs", "operations", "logits"}
_MOST_OPERATIONS = 1 << 16
_MOST_IDS = 1 << 20  # ids of one row of data


def read_program(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Program:
    """Return the program of a header of `READ_VERSIONS`.

    Whoever can write a file can write its checksum too. So each operation is checked against its
    operands for any number of rows, each array and each result must be used, and nothing is built
    that the arrays could not fill.

    Raises
    ------
    ValueError
        If anything does not fit.
    """
    if set(header) != _KEYS:
        raise ValueError(f"its header has {sorted(header)}, expected {sorted(_KEYS)}")
    if not isinstance(header["network"], str):
        raise ValueError(f"its network is {header['network']!r}")
    inputs = checked_inputs(header["inputs"])
    program = Program(inputs, arrays)
    described = header["operations"]
    if not isinstance(described, list) or len(described) > _MOST_OPERATIONS:
        raise ValueError("it has no list of operations, or too many")
    for number, one in enumerate(described, start=FIRST):
        if not isinstance(one, dict) or one.get("result") != number or one["result"] is True:
            raise ValueError(f"operation {number} is {one!r}")
        rest = {key: value for key, value in one.items() if key not in ("kind", "of", "result")}
        program.add(one.get("kind"), one.get("of"), rest)
    _check_use(header, program, arrays)
    return program


def checked_inputs(described: Any) -> Inputs:
    """Return the inputs that a header describes.

    Raises
    ------
    ValueError
    """
    inputs = Inputs.from_dict(described)
    if inputs.ids_width > _MOST_IDS:
        raise ValueError(f"a row of data would have {inputs.ids_width} ids")
    return inputs


def _check_use(
    header: Mapping[str, Any], program: Program, arrays: Mapping[str, np.ndarray]
) -> None:
    tasks, last = header["tasks"], FIRST + len(program.operations) - 1
    named = isinstance(tasks, list) and all(isinstance(task, str) for task in tasks)
    if not named or not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"its tasks are {tasks!r}")
    if header["logits"] != last or type(header["logits"]) is not int or last < FIRST:
        raise ValueError(f"its logits are value {header['logits']!r}, but its last is {last}")
    if program.levels(last):
        raise ValueError("its logits are levels")
    if program.shape(last) != (BATCH, len(tasks)):
        raise ValueError(f"its logits are {text(program.shape(last))} for {len(tasks)} tasks")
    used = {operand for of in program.of for operand in of}
    unused = sorted(set(range(FIRST, last)) - used)
    if unused:
        raise ValueError(f"results {unused} are not used")
    superfluous = sorted(set(arrays) - program.weights.read)
    if superfluous:
        raise ValueError(f"arrays {superfluous} are superfluous")

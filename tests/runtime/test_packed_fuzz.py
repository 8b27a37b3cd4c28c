"""Packed files with something changed: an error that says what, or the scores that they mean."""

import json
import random
import struct

import numpy as np
import pytest
from random_programs import RandomProgram
from test_native_execution import scores

from spark_ctr.kernels.native.library import instruction_sets
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

ODD = [None, -1, 0, 1, 2, 3, 128, 255, 256, 2**22, 2**31, 2**63, 0.5, 1e400, True, "x", [], {}]


@pytest.fixture(scope="module")
def files():
    """Files of programs, and rows for each."""
    made = [RandomProgram(seed, tasks=1) for seed in range(60)]
    return [(packed_to_bytes(PackedModel.from_arrays(m.header, m.arrays)), m.rows(9)) for m in made]


def changed_bytes(data, draw):
    """Change bytes anywhere; most are in the arrays."""
    data = bytearray(data)
    kind = draw.random()
    if kind < 0.1:
        return bytes(data[: draw.randrange(len(data))])
    if kind < 0.2:
        at = draw.randrange(len(data))
        return bytes(data[:at] + draw.randbytes(draw.randint(1, 9)) + data[at:])
    for _ in range(draw.choice([1, 1, 2, 8])):
        data[draw.randrange(len(data))] = draw.choice([0, 127, 128, 255, draw.randrange(256)])
    return bytes(data)


def changed_value(value, draw):
    """Change one thing somewhere in JSON."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.9:
            value = inner
            continue
        if draw.random() < 0.1:
            del value[key]
        elif type(inner) is int and draw.random() < 0.6:
            value[key] = inner + draw.choice([-1, 1, 2])
        else:
            value[key] = draw.choice(ODD)
        return


def changed_header(data, draw):
    """Change the description of the arrays or of the program, and keep the file whole."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    if draw.random() < 0.3:
        changed_value(header, draw)
    else:
        program = json.loads(header["__metadata__"]["packed"])
        changed_value(program, draw)
        header["__metadata__"]["packed"] = json.dumps(program)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def check(data, rows):
    """Return whether a file was refused; if not, its scores are those by NumPy."""
    try:
        model = packed_from_bytes(data)
    except ValueError as error:
        assert len(str(error)) > 20
        return True
    ids, numeric = rows
    tasks = len(model.tasks)
    header, arrays = model.to_arrays()
    numpy = Execution(read_program(header, arrays))
    if model.inputs.ids_width != ids.shape[1] or len(model.inputs.numeric) != numeric.shape[1]:
        with pytest.raises(ValueError, match="must have shape"):
            model.predict_logits(ids, numeric)
        return False
    try:
        model.inputs.id_range.check(ids)
    except IndexError as error:
        with pytest.raises(IndexError) as found, np.errstate(all="ignore"):
            model.predict_logits(ids, numeric)
        assert str(found.value) == str(error)
        return False
    expected = scores(numpy, ids, numeric, tasks)
    with np.errstate(all="ignore"):
        found = model.predict_logits(ids, numeric)
    np.testing.assert_array_equal(found, expected)
    return False


def run(files, changes, seed):
    draw, refused = random.Random(seed), 0
    for _ in range(changes):
        data, rows = draw.choice(files)
        change = draw.choice([changed_bytes, changed_header])
        refused += check(change(data, draw), rows)
    assert changes / 4 < refused < changes


@pytest.mark.parametrize("seed", range(2))
def test_changed_files(files, seed):
    run(files, 1500, seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 12))
def test_very_many_changed_files(files, seed):
    run(files, 10_000, seed)


@pytest.mark.skipif(not instruction_sets(), reason="the kernels are not built")
def test_the_files_are_run_by_the_kernels(files):
    for data, _ in files:
        assert not isinstance(packed_from_bytes(data)._execution, Execution)

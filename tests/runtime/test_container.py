"""Arrays of packed files: views where they lie, aligned as the page says, checked to the byte."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from packed_models import EARLIER, saved_bytes
from random_programs import RandomProgram
from safetensors.numpy import load, save
from test_native_execution import scores
from test_packed_fuzz import changed_bytes, changed_value

from spark_ctr.kernels.native.library import instruction_sets
from spark_ctr.runtime.container import read_arrays, write_arrays
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.native import NativeExecution
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

_DTYPES = st.sampled_from([np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8)])
_SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 16, 40]), max_size=3).map(tuple)
_ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    _DTYPES.flatmap(lambda dtype: arrays(dtype, _SHAPES)),
    max_size=7,
)


def same(found, expected):
    """Two sets of arrays are equal, to the bit."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def address(array):
    return array.__array_interface__["data"][0]


@given(_ARRAYS)
def test_what_is_written_is_aligned_and_what_safetensors_reads(made):
    data = write_arrays(made, {"packed": "{}"})
    same(load(data), made)
    found = read_arrays(memoryview(data))
    same(found, made)
    start = address(np.frombuffer(data, np.uint8))
    for array in found.values():
        power = min(array.nbytes & -array.nbytes or 64, 64)
        assert (address(array) - start) % power == 0 or not array.size
        assert not array.flags.writeable


@given(_ARRAYS, st.integers(0, 63))
def test_files_of_safetensors_are_read_where_they_are(made, shift):
    data = bytearray(shift) + save(made, metadata={"packed": "{}"})
    view = memoryview(data)[shift:]
    found = read_arrays(view)
    same(found, made)
    start = address(np.frombuffer(data, np.uint8))
    for array in found.values():
        assert not array.size or start <= address(array) < start + len(data)
        assert not array.flags.writeable


@pytest.mark.parametrize("seed", range(2))
def test_changed_files_are_refused_where_safetensors_refuses_them(seed):
    """And else read as it reads them, but for dtypes that no packed model has."""
    draw, read, refused = random.Random(seed), 0, 0
    made = [RandomProgram(n, tasks=1).arrays for n in range(20)]
    files = [save(some, metadata={"packed": "{}"}) for some in made]
    files += [write_arrays(some, {"packed": "{}"}) for some in made]
    for _ in range(4000):
        data = draw.choice(files)
        length = int.from_bytes(data[:8], "little")
        if draw.random() < 0.4:
            data = changed_bytes(data, draw)
        else:
            header = json.loads(data[8 : 8 + length])
            for _ in range(draw.choice([1, 1, 2])):
                changed_value(header, draw)
            text = json.dumps(header).encode()
            data = len(text).to_bytes(8, "little") + text + data[8 + length :]
        try:
            expected = load(data)
        except Exception:  # safetensors has types of its own
            expected = None
        try:
            found = read_arrays(data)
        except ValueError as error:
            assert len(str(error)) > 20
            refused += 1
            # Of what it reads, only dtypes are refused.
            assert expected is None or "expected F32" in str(error)
            continue
        assert expected is not None
        same(found, expected)
        read += 1
    assert read > 200 and refused > 2000


def forged(described, body):
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_what_is_wrong_is_said():
    one = {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}
    two = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    same(
        read_arrays(forged({"b": two, "a": one}, bytes(8))),
        load(forged({"a": one, "b": two}, bytes(8))),
    )
    double = b'{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},' * 2
    for described, body, message in (
        ({"a": one, "b": {**two, "data_offsets": [2, 6]}}, bytes(6), "'b' of 4 bytes is at .2, 6."),
        ({"a": one, "b": {**two, "data_offsets": [5, 9]}}, bytes(9), "'b' of 4 bytes is at .5, 9."),
        ({"a": one, "b": {**one}}, bytes(4), "'b' of 4 bytes is at .0, 4., not at 4"),
        ({"a": one}, bytes(3), "'a' of 4 bytes is at"),
        ({"a": one}, bytes(5), "5 bytes of arrays, of which 4 are described"),
        ({"a": {**one, "shape": [5]}}, bytes(4), "'a' of 5 bytes"),
        ({"a": {**one, "shape": [-4]}}, bytes(4), r"'a' has shape \[-4\]"),
        ({"a": {**one, "shape": [True, 4]}}, bytes(4), "'a' has shape"),
        ({"a": {**one, "shape": [0, 2**70], "data_offsets": [0, 0]}}, b"", "'a': "),
        ({"a": {**one, "shape": [1] * 99 + [4]}}, bytes(4), "'a': "),
        ({"a": {**one, "data_offsets": [0, 4, 8]}}, bytes(4), "'a' has shape"),
        ({"a": {**one, "data_offsets": [4, 0]}}, bytes(4), "'a' of 4 bytes"),
        ({"a": {**one, "dtype": "F64"}}, bytes(4), "'a' is of dtype 'F64', expected F32, I8, U8"),
        ({"a": {**one, "more": 1}}, bytes(4), "'a' is {"),
        ({"a": []}, bytes(4), r"'a' is \[\]"),
        (double[:-1] + b"}", bytes(4), "JSONDecodeError|twice"),
        (double[:-1].replace(b',"shape"', b',"dtype":"I8","shape"') + b"}", bytes(4), "twice|JSON"),
        (b'{"a":{},"a":{}}', b"", "a name is there twice"),
        (b"[]", b"", "it begins with"),
        (b" {}", b"", "it begins with"),
        (b"\xff\xfe{}", b"", "UnicodeDecodeError"),
    ):
        with pytest.raises(ValueError, match=message):
            read_arrays(forged(described, body))


@pytest.mark.skipif(not instruction_sets(), reason="the kernels are not built")
@pytest.mark.parametrize("shift", [1, 2, 5, 63])
def test_kernels_of_every_instruction_set_read_arrays_that_are_not_aligned(shift):
    """And with those that are aligned; all give the same bits."""
    odd = 0
    for seed in range(25):
        made = RandomProgram(seed, tasks=1)
        data = packed_to_bytes(PackedModel.from_arrays(made.header, made.arrays))
        ids, numeric = made.rows(9)
        expected = scores(Execution(read_program(made.header, made.arrays)), ids, numeric, 1)
        shifted = memoryview(bytearray(shift) + data)[shift:]
        model = packed_from_bytes(shifted)
        header, views = model.to_arrays()
        odd += any(not array.flags.aligned for array in views.values())
        program = read_program(header, views)
        runs = [NativeExecution(program, 1, name) for name in instruction_sets()]
        for run in (Execution(program), *runs):
            np.testing.assert_array_equal(scores(run, ids, numeric, 1), expected)
    assert odd > 5


@pytest.mark.parametrize("name", sorted(EARLIER))
def test_files_of_earlier_formats_are_read_as_safetensors_reads_them(name):
    data = saved_bytes(name)
    same(read_arrays(data), load(data))


def test_tables_are_not_copied():
    made = RandomProgram(3, tasks=1)
    data = packed_to_bytes(PackedModel.from_arrays(made.header, made.arrays))
    start = address(np.frombuffer(data, np.uint8))
    views = packed_from_bytes(data).to_arrays()[1]
    assert all(start <= address(a) <= start + len(data) for a in views.values() if a.size)
    assert views and packed_to_bytes(packed_from_bytes(data)) == data

"""Programs by the native kernels are those by NumPy, to the bit, with every instruction set."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import RandomProgram

from spark_ctr.kernels.native import library as native_library
from spark_ctr.kernels.native.library import instruction_sets
from spark_ctr.runtime import native
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.native import NativeExecution, native_execution
from spark_ctr.runtime.packed_model import PackedModel

pytestmark = pytest.mark.skipif(not instruction_sets(), reason="the kernels are not built")
ROWS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 63, 64, 65, 130]


def scores(execution, ids, numeric, tasks):
    logits = np.full((len(ids), tasks), np.nan, np.float32)
    with np.errstate(all="ignore"):
        execution(ids, numeric, logits)
    return logits


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from(ROWS))
def test_programs_at_random(seed, count):
    made = RandomProgram(seed)
    program = read_program(made.header, made.arrays)
    ids, numeric = made.rows(count)
    expected = scores(Execution(program), ids, numeric, made.tasks)
    for name in instruction_sets():
        execution = NativeExecution(program, made.tasks, name)
        found = scores(execution, ids, numeric, made.tasks)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        # Memory of the batch before is not read.
        half = scores(execution, ids[: count // 2], numeric[: count // 2], made.tasks)
        np.testing.assert_array_equal(half, expected[: count // 2], err_msg=name)


def test_the_processor_has_all_that_it_can():
    assert instruction_sets()[0] == "portable"
    assert len(set(instruction_sets())) == len(instruction_sets())


@pytest.mark.parametrize("seed", range(20))
def test_invalid_ids_are_named_as_numpy_names_them(seed):
    made = RandomProgram(seed)
    model = PackedModel.from_arrays(made.header, made.arrays)
    ids, numeric = made.rows(130)
    tables = made.inputs.slot_tables
    if not tables:
        assert model.predict_logits(ids, numeric).shape == (130, made.tasks)
        return
    row, slot = made.draw.integers(130), made.draw.integers(len(tables))
    wrong = [tables[slot].rows, tables[slot].lowest - 1, 2**31 - 1]
    wrong += [2**40, -(2**32), 2**63 - 1] if ids.dtype == np.int64 else []
    for value in wrong:
        bad = ids.copy()
        bad[row, slot] = value
        with pytest.raises(IndexError) as expected:
            made.inputs.id_range.check(bad)
        with pytest.raises(IndexError) as found:
            model.predict_logits(bad, numeric)
        assert str(found.value) == str(expected.value)


def test_arrays_of_any_layout_and_kind():
    made = RandomProgram(3)
    model = PackedModel.from_arrays(made.header, made.arrays)
    ids, numeric = made.rows(50)
    ids = ids.astype(np.int64)
    with np.errstate(all="ignore"):
        expected = model.predict_logits(ids, numeric)
        for kind in (np.int32, np.int64, np.float64):
            other = np.asfortranarray(ids.astype(kind)), np.asfortranarray(numeric)
            np.testing.assert_array_equal(model.predict_logits(*other), expected)
        apart = np.repeat(ids, 2, 0)[::2], np.repeat(numeric.astype(np.float64), 2, 1)[:, ::2]
        np.testing.assert_array_equal(model.predict_logits(*apart), expected)


def test_weights_may_lie_anywhere():
    made = RandomProgram(5)
    moved = {}
    for name, array in made.arrays.items():
        shifted = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        shifted[...] = array
        moved[name] = shifted
    ids, numeric = made.rows(70)
    with np.errstate(all="ignore"):
        expected = PackedModel.from_arrays(made.header, made.arrays).predict_logits(ids, numeric)
        found = PackedModel.from_arrays(made.header, moved).predict_logits(ids, numeric)
    np.testing.assert_array_equal(found, expected)


def test_tables_are_read_where_they_are():
    made = next(m for m in map(RandomProgram, range(99)) if any("embed" in k for k in m.arrays))
    program = read_program(made.header, made.arrays)
    _, arrays = native.native_words(native.plan_of(program), program.inputs, made.tasks)
    tables = [a for name, a in made.arrays.items() if "embed" in name and a.dtype == np.int8]
    assert all(any(used is table for used in arrays) for table in tables)


def said(caplog):
    return [r.message for r in caplog.records if "native kernels" in r.message]


def test_what_only_numpy_has_is_said_once(caplog):
    native._say.cache_clear()
    operations = [
        {"result": 2, "kind": "tanh", "of": [1]},
        {"result": 3, "kind": "sigmoid", "of": [2]},
    ]
    header = {
        "format_version": 5,
        "network": "none",
        "tasks": ["click"],
        "inputs": {"tables": [], "numeric": ["x"]},
        "operations": operations,
        "logits": 3,
    }
    with caplog.at_level(logging.INFO, logger="spark_ctr"):
        for _ in range(2):
            PackedModel.from_arrays(header, {})
    assert len(said(caplog)) == 1 and "sigmoid, tanh" in said(caplog)[0]


def test_without_the_library_numpy_computes(monkeypatch, tmp_path, caplog):
    made = RandomProgram(7)
    rows = made.rows(65)
    with np.errstate(all="ignore"):
        expected = PackedModel.from_arrays(made.header, made.arrays).predict_logits(*rows)
        monkeypatch.setattr(native_library, "LIBRARY", tmp_path / "none.so")
        native_library.library.cache_clear()
        native._say.cache_clear()
        with caplog.at_level(logging.INFO, logger="spark_ctr"):
            for _ in range(2):
                model = PackedModel.from_arrays(made.header, made.arrays)
        np.testing.assert_array_equal(model.predict_logits(*rows), expected)
    program = read_program(made.header, made.arrays)
    assert native_execution(program, made.tasks) is None
    native_library.library.cache_clear()
    assert len(said(caplog)) == 1 and "not built" in said(caplog)[0]

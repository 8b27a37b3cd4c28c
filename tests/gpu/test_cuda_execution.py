"""Whole programs by the CUDA sources, on a stand-in for a device, have NumPy's bits."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels.cuda import CudaError, OutOfDeviceMemory, embedding_columns
from spark_ctr.runtime import cuda_calls
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.cuda_execution import CudaExecution
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.planner import NotNative
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs
from tests.gpu.stand_in import FailingStream, device_of
from tests.gpu.students import Student
from tests.runtime.random_programs import RandomProgram

CHUNK = 128  # the fewest rows of a chunk


def execution_of(made, device, rows=4096, fused=True):
    """A program whose chunks have at most so many rows."""
    program = read_program(made.header, made.arrays)
    large = CudaExecution(program, made.tasks, device, 1 << 32, fused=fused)
    memory = 2 * rows * large._layout.row_bytes
    execution = CudaExecution(program, made.tasks, device, memory, fused=fused)
    assert execution.chunk == rows
    return execution


def expected_logits(made, ids, numeric):
    logits = np.empty((len(ids), made.tasks), np.float32)
    with np.errstate(all="ignore"):
        Execution(read_program(made.header, made.arrays))(ids, numeric, logits)
    return logits


def logits_of(execution, made, ids, numeric):
    logits = np.full((len(ids), made.tasks), np.nan, np.float32)
    execution(ids, numeric, logits)
    return logits


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2, 31, 64, 65, 130]))
def test_programs_at_random(host, seed, count):
    made = RandomProgram(seed)
    ids, numeric = made.rows(count)
    expected = expected_logits(made, ids, numeric)
    execution = execution_of(made, device_of(host))
    for rows in (count, count // 2):
        found = logits_of(execution, made, ids[:rows], numeric[:rows])
        np.testing.assert_array_equal(found, expected[:rows])


@pytest.fixture(scope="module")
def made():
    """A program with a look-up, numbers and a layer."""
    return next(
        made
        for made in map(RandomProgram, range(99))
        if made.inputs.ids_width > 1
        and made.inputs.numeric
        and {"embed", "integer_linear"} <= {o["kind"] for o in made.header["operations"]}
    )


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_chunks_of_rows_make_no_difference(host, made, count):
    ids, numeric = made.rows(count)
    execution = execution_of(made, device_of(host), CHUNK)
    found = logits_of(execution, made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))


def test_batches_come_back_in_order(host, made):
    batches = [made.rows(count) for count in (5, 0, 3 * CHUNK, 1, CHUNK, 0)]
    execution = execution_of(made, device_of(host), CHUNK)
    found = list(execution.batches(batches))
    assert len(found) == len(batches)
    for logits, batch in zip(found, batches, strict=True):
        np.testing.assert_array_equal(logits, expected_logits(made, *batch))


def test_one_batch_is_taken_ahead(host, made):
    taken = []
    batches = (taken.append(i) or made.rows(3) for i in range(5))
    scores = execution_of(made, device_of(host)).batches(batches)
    next(scores)
    # Two are under way before the first one is waited for, which the third one asks for.
    assert taken == [0, 1, 2]
    assert len(list(scores)) == 4


def test_who_stops_early_may_begin_again(host, made):
    execution = execution_of(made, device_of(host), CHUNK)
    ids, numeric = made.rows(20)
    scores = execution.batches([made.rows(2 * CHUNK) for _ in range(4)])
    next(scores)
    with pytest.raises(RuntimeError, match="at work"):
        next(execution.batches([(ids, numeric)]))
    scores.close()
    found = logits_of(execution, made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_ids_that_are_not_valid_are_named(host, made, kind):
    execution = execution_of(made, device_of(host), CHUNK)
    ids, numeric = made.rows(3 * CHUNK)
    ids, tables = ids.astype(kind), made.inputs.slot_tables
    for row, slot in ((0, 0), (CHUNK + 7, len(tables) - 1), (3 * CHUNK - 1, 0)):
        table = tables[slot]
        wrong = [table.rows, table.lowest - 1, 2**31 - 1]
        wrong += [2**40, -(2**32), 2**32 + 1, 2**63 - 1] if kind == np.int64 else []
        for value in wrong:
            bad = ids.copy()
            bad[row, slot] = value
            with pytest.raises(IndexError) as expected:
                made.inputs.id_range.check(bad.astype(np.int64))
            with pytest.raises(IndexError) as found:
                logits_of(execution, made, bad, numeric)
            assert str(found.value) == str(expected.value)
    # And what comes after is right.
    found = logits_of(execution, made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))


def test_half_the_rows_where_memory_is_short(stand_in, made, caplog):
    program = read_program(made.header, made.arrays)
    whole = CudaExecution(program, made.tasks, stand_in)
    row_bytes, weights = whole._layout.row_bytes, sum(part.nbytes for part in whole._weights)
    del whole
    assert stand_in.taken == 0
    memory = 2 * 512 * row_bytes
    # Enough for one chunk of 512 rows, or for two of 256 once that one is given back.
    stand_in.most = weights + 600 * row_bytes
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        execution = CudaExecution(program, made.tasks, stand_in, memory)
    assert execution.chunk == 256
    (said,) = [record.message for record in caplog.records]
    assert "256 rows" in said and "OUT_OF_MEMORY" in said
    ids, numeric = made.rows(700)
    found = logits_of(execution, made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))
    del execution
    stand_in.most = weights + 300 * row_bytes
    with pytest.raises(OutOfDeviceMemory, match="OUT_OF_MEMORY"):
        CudaExecution(program, made.tasks, stand_in, memory)


def test_errors_have_the_words_of_cuda_and_the_shape(stand_in, made):
    stand_in.stream = lambda: FailingStream(stand_in)
    execution = CudaExecution(read_program(made.header, made.arrays), made.tasks, stand_in)
    widths = rf"{made.inputs.ids_width} ids and {len(made.inputs.numeric)} numbers"
    with pytest.raises(CudaError, match=rf"17 rows of {widths}.*ILLEGAL_ADDRESS"):
        logits_of(execution, made, *made.rows(17))


def program_of(kind):
    b = ProgramBuilder(Inputs(tables=(), numeric=("x",)), {})
    header, arrays = b.build(b.add(kind, NUMERIC), ["click"], "none")
    return read_program(header, arrays)


def test_programs_that_only_numpy_runs_are_refused(host):
    with pytest.raises(NotNative, match="tanh"):
        CudaExecution(program_of("tanh"), 1, device_of(host))


def test_a_layer_that_kernels_refuse_is_said(host, made, monkeypatch):
    def refuse(*arguments, **options):
        raise ValueError("too wide for the kernels")

    monkeypatch.setattr(cuda_calls.cuda, embedding_columns.__name__, refuse)
    with pytest.raises(NotNative, match="too wide"):
        CudaExecution(read_program(made.header, made.arrays), made.tasks, device_of(host))


def test_rows_too_wide_for_the_memory_are_refused(host, made):
    with pytest.raises(NotNative, match="cannot be cut"):
        CudaExecution(read_program(made.header, made.arrays), made.tasks, device_of(host), 1000)


def test_step_by_step_a_student_is_a_launch_for_each_layer_and_its_inputs(stand_in):
    made = Student(0)
    execution, batch = execution_of(made, stand_in, fused=False), made.rows(200)
    found = logits_of(execution, made, *batch)
    np.testing.assert_array_equal(found, expected_logits(made, *batch))
    kernels = [kernel for _, kernel in stand_in.launched]
    layers = ["integer_linear_signs", "binary_linear_signs", "binary_linear_levels"]
    layers.append("integer_linear_float32")
    inputs = kernels[: -len(layers)]
    assert kernels[-len(layers) :] == layers
    assert inputs[0] == "check_ids" and set(inputs[1:]) == {"embedding_levels", "quantise_levels"}


def test_a_student_is_one_launch(stand_in):
    made = Student(0)
    execution, batch = execution_of(made, stand_in), made.rows(200)
    found = logits_of(execution, made, *batch)
    np.testing.assert_array_equal(found, expected_logits(made, *batch))
    assert stand_in.launched == [("student", "student_float32")]

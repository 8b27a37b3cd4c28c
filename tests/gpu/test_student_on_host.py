"""The kernel of whole students, on the host or a device, against NumPy's program, to the bit."""

import ctypes
import faulthandler

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels.cuda import (
    LOOK_UP,
    MOST_SHARED,
    STUDENT,
    STUDENT_LAYER,
    StudentFinish,
    StudentLayer,
    level_sources,
    student_blocks,
    student_layers,
    student_memory,
)
from spark_ctr.kernels.cuda.geometry import TILE_WORDS
from spark_ctr.kernels.cuda.student import shared_words
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.cuda_calls import calls_of
from spark_ctr.runtime.cuda_launch import FIRST_BAD, IDS, At, Rows
from spark_ctr.runtime.cuda_student import student_call
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.plan import NUMERIC_VALUE
from spark_ctr.runtime.planner import plan_of
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs, Table
from tests.gpu.host import guarded, survives
from tests.gpu.on_device import on_device
from tests.gpu.stand_in import device_of
from tests.gpu.students import RandomStudent, Student
from tests.gpu.test_cuda_execution import execution_of, expected_logits, logits_of
from tests.runtime.random_programs import RandomProgram

NONE_BAD = np.iinfo(np.uint64).max


def call_of(made, upload=lambda array: 0):
    program = read_program(made.header, made.arrays)
    return student_call(plan_of(program), program.inputs, upload)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2, 15, 31, 32, 33, 64, 127, 130, 200]))
def test_students_at_random(host, seed, count):
    made = RandomStudent(seed)
    assert call_of(made) is not None
    ids, numeric = made.rows(count)
    expected = expected_logits(made, ids, numeric)
    for fused in (True, False):
        execution = execution_of(made, device_of(host), 4096, fused)
        found = logits_of(execution, made, ids, numeric)
        np.testing.assert_array_equal(found, expected)
        # Signs of zeros too.
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_random_students_have_all_that_the_kernel_has():
    seen = set()
    for seed in range(300):
        made = RandomStudent(seed)
        tables, plan = made.inputs.tables, plan_of(read_program(made.header, made.arrays))
        seen |= {("layer", s.binary, s.finish) for s in plan.steps if hasattr(s, "binary")}
        seen |= (
            {"no tables"} if not tables else {"no numbers"} if not made.inputs.numeric else set()
        )
        seen |= {name for t in tables for name in ("signed", "padded") if getattr(t, name)}
        seen |= {"slots"} if any(t.slots > 1 for t in tables) else set()
        seen |= {"nibbles"} if any(name.endswith(".nibbles") for name in made.arrays) else set()
        columns = [c for s in plan.steps for c in getattr(s, "columns", ())]
        seen |= {"dims"} if len({column.rows.dim for column in columns}) > 1 else set()
    layers = {("layer", binary, finish) for binary in (False, True) for finish in range(4)}
    rest = {"no tables", "no numbers", "signed", "padded", "slots", "nibbles", "dims"}
    assert seen == layers | rest


class Launch:
    """A student whose buffers end where nothing may be read or written."""

    def __init__(self, host, made, ids, numeric):
        if on_device():
            pytest.skip("compute-sanitizer looks at that")
        self.host, self.held, rows = host, [], len(ids)
        self.call = call_of(made, self.upload)
        self.logits = guarded(np.full((rows, made.tasks), np.nan, np.float32))
        self.first_bad = guarded(np.full(1, NONE_BAD, np.uint64))
        self.ids, numeric = guarded(ids.astype(np.int32)), self.kept(numeric)
        program = read_program(made.header, made.arrays)
        known = {IDS: self.ids, NUMERIC_VALUE: numeric, FIRST_BAD: self.first_bad}
        known[plan_of(program).logits] = self.logits
        self.arguments = [
            known[part.value].ctypes.data
            if isinstance(part, At)
            else rows * part.factor
            if isinstance(part, Rows)
            else part
            for part in self.call.arguments
        ]
        self.blocks = self.call.blocks(rows)

    def kept(self, array):
        self.held.append(guarded(np.ascontiguousarray(array)))
        return self.held[-1]

    def upload(self, array):
        return self.kept(array).ctypes.data

    def run(self, shared=None):
        memory = ctypes.c_uint.in_dll(self.host, "shared_bytes")
        memory.value = self.call.shared if shared is None else shared
        self.host.host_student_float32(0, self.blocks, *map(ctypes.c_longlong, self.arguments))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("count", [1, 33])
def test_nothing_beyond_the_buffers_is_touched(host, seed, count):
    made = RandomStudent(seed)
    ids, numeric = made.rows(count)
    launch = Launch(host, made, ids, numeric)
    assert survives(launch.run)
    launch.run()
    np.testing.assert_array_equal(launch.logits, expected_logits(made, ids, numeric))
    np.testing.assert_array_equal(launch.ids, ids)
    assert launch.first_bad == NONE_BAD


def test_all_of_the_shared_memory_is_needed(host):
    made = Student(0)
    launch = Launch(host, made, *made.rows(32))
    # 33 levels are two tiles, and the last row has the third one, between rows, behind it.
    needed = launch.call.shared - 4 * TILE_WORDS
    assert survives(lambda: launch.run(needed))

    def run():
        faulthandler.disable()
        launch.run(needed - 1)

    assert not survives(run)


@pytest.mark.parametrize("bad", [[0], [31], [32], [69], [68, 40, 33], [69, 0]])
def test_the_first_row_with_a_wrong_id_is_said_and_reads_row_0(host, bad):
    made = Student(1)
    ids, numeric = made.rows(70)
    wrong, right = ids.astype(np.int32), ids.copy()
    for i, row in enumerate(bad):
        slot = i % ids.shape[1]
        table = made.inputs.slot_tables[slot]
        wrong[row, slot] = [table.rows, table.lowest - 1, 2**31 - 1][i]
        right[row, slot] = 0
    launch = Launch(host, made, wrong, numeric)
    launch.run()
    assert launch.first_bad == min(bad)
    np.testing.assert_array_equal(launch.ids, right)
    np.testing.assert_array_equal(launch.logits, expected_logits(made, right, numeric))


@pytest.mark.parametrize("count", [1, 100, 500])
def test_wrong_ids_are_named(host, count):
    made = Student(2)
    ids, numeric = made.rows(count)
    ids[-1, 2] = 30
    with pytest.raises(IndexError) as expected:
        made.inputs.id_range.check(ids.astype(np.int64))
    with pytest.raises(IndexError) as found:
        logits_of(execution_of(made, device_of(host), 128), made, ids, numeric)
    assert str(found.value) == str(expected.value)


class Other(RandomProgram):
    """What is nearly a student."""

    def __init__(self, kind):
        self.draw, self.names, self.tasks = np.random.default_rng(0), 0, 1
        dim = 900 if kind == "wide" else 8
        self.inputs = Inputs((Table("a", 9, dim), Table("b", 9, 8)), ("x", "y"))
        self.b = b = ProgramBuilder(self.inputs, {})
        value = b.concat([self.embed(), self.embed(), NUMERIC], axis=1)
        if kind == "wide":
            value = b.concat([self.embed() for _ in range(4)], axis=1)
        elif kind == "signs first":
            value = self.binary(value, 20)
        elif kind == "groups":
            value = self.integer(b.add("reshape", value, shape=[2, b.shape(value)[1] // 2]), 5)
            value = b.reshape(value, -1)
        elif kind == "computed":
            value = b.add("relu", value)
        hidden = self.integer(value, 16)
        if kind == "residual":
            hidden = b.add("add", hidden, self.integer(b.add("relu", hidden), 16))
        elif kind == "two readers":
            hidden = b.concat([self.integer(hidden, 3), self.integer(hidden, 4)], axis=1)
        last = self.integer(b.add("relu", hidden), 1)
        if kind == "added":
            last = b.add("add", last, b.constant("c", np.ones(1)))
        self.header, self.arrays = b.build(last, ["click"], kind)


KINDS = ("wide", "signs first", "groups", "computed", "residual", "two readers", "added")


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_run_step_by_step(host, kind):
    made = Other(kind)
    assert call_of(made) is None
    ids, numeric = made.rows(40)
    found = logits_of(execution_of(made, device_of(host)), made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))


def test_a_layer_alone_over_numbers_is_a_student(host):
    b = ProgramBuilder(Inputs((), ("x",)), {})
    made = Student(0)
    made.b, made.inputs, made.tasks = b, b.inputs, 1
    made.end(made.integer(NUMERIC, 1))
    ids, numeric = made.rows(40)
    assert call_of(made) is not None
    found = logits_of(execution_of(made, device_of(host)), made, ids, numeric)
    np.testing.assert_array_equal(found, expected_logits(made, ids, numeric))


def test_only_what_launches_know_has_memory(host):
    made = Student(0)
    fused, steps = (execution_of(made, device_of(host), 128, f)._layout for f in (True, False))
    # Three ids, two numbers and a logit.
    assert fused.row_bytes == 4 * 6 < steps.row_bytes


def test_one_call_or_many():
    program = read_program(Student(0).header, Student(0).arrays)
    plan = plan_of(program)
    assert len(calls_of(plan, program.inputs, lambda array: 0)) == 1
    assert len(calls_of(plan, program.inputs, lambda array: 0, fused=False)) > 6


def test_blocks():
    assert [student_blocks(rows) for rows in (0, 1, 32, 33)] == [0, 1, 1, 2]


@pytest.mark.parametrize("bits", [1, 256, 257, 512, 513, 8 * 429])
def test_rows_in_shared_memory_have_all_banks(host, bits):
    words = shared_words(bits)
    if not on_device():
        assert host.layout(9, ctypes.c_longlong(bits), 0, 0, 0, 0) == words
    assert words * 32 >= bits and words % 16 == 8
    # Half a load of 8 bytes a lane: 4 rows, 8 words.
    assert len({(row * words + word) % 32 for row in range(4) for word in range(8)}) == 32


def test_buffers_change_roles():
    assert student_memory([8 * 64]) == (32 * 24, 4 * 32 * 24)
    assert student_memory([8 * 64, 512, 8 * 100, 1]) == (32 * 40, 4 * 32 * (40 + 24))
    # 429 levels and a hidden layer of 512 signs fit.
    assert student_memory([8 * 429, 512, 256])[1] <= MOST_SHARED


def test_sources_of_levels():
    found = level_sources([(3, 2), (0, 1)], [(1, 2)], 5)
    assert found.tolist() == [1, ~0, ~1, 0, 0] and found.dtype == np.int32
    for columns, numbers in (([(0, 2)], []), ([(0, 2), (1, 2)], []), ([(0, 3)], [(3, 1)])):
        with pytest.raises(ValueError, match="levels"):
            level_sources(columns, numbers, 3)


def layer(binary=False, finish=StudentFinish.FLOAT32, inputs=4, outputs=4):
    return StudentLayer(binary, finish, inputs, outputs, 1, 2)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [layer(binary=True)],
        [layer(finish=StudentFinish.LEVELS)],
        [layer(finish=StudentFinish.SIGNS), layer()],
        [layer(finish=StudentFinish.LEVELS), layer(binary=True)],
        [layer(), layer()],
        [layer(finish=StudentFinish.LEVELS), layer(inputs=5)],
    ],
)
def test_layers_that_do_not_follow_are_refused(layers):
    with pytest.raises(ValueError, match="layer|StudentLayer|\\[\\]"):
        student_layers(layers)


def test_tables_are_laid_out_as_in_the_header(host):
    if on_device():
        pytest.skip("a function of the host")

    def layout(name, count):
        return list((ctypes.c_int * count).in_dll(host, name))

    def offsets(dtype):
        return [dtype.itemsize, *(dtype.fields[name][1] for name in dtype.names)]

    assert layout("LOOK_UP_LAYOUT", 5) == offsets(LOOK_UP)
    assert layout("STUDENT_LAYER_LAYOUT", 12) == offsets(STUDENT_LAYER)
    assert layout("STUDENT_LAYOUT", 14) == offsets(STUDENT)

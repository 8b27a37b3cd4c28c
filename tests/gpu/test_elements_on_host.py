"""The source of what goes element by element, compiled for the host, against the runtime's."""

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import quantise
from spark_ctr.kernels.cuda import (
    AXES,
    copy_axes,
    element_blocks,
    id_ranges,
    level_inverse,
    level_row_words,
    levels_to_device_rows,
    pair_axes,
    sum_blocks,
    take_positions,
    warp_blocks,
)
from spark_ctr.runtime.arithmetic import Add, Concat, Multiply, Slice, Subtract, Sum, Take
from spark_ctr.runtime.plan import Axes, strides_of
from spark_ctr.runtime.shapes import BATCH
from spark_ctr.runtime.weights import Weights
from spark_ctr.tables import PADDING, Inputs, Table
from spark_ctr.tables.ids import is_valid_id
from tests.gpu.host import guarded, launch, survives, unbacked
from tests.gpu.test_software_model import same_bits

seeds = st.integers(0, 2**32 - 1)
rows_ = st.one_of(st.integers(0, 12), st.sampled_from([127, 128, 513]))
lengths_ = st.lists(st.integers(0, 6), min_size=1, max_size=5)
SPECIAL = np.float32([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-39, 3e38, -3e38])
PAIRS = (Add, Subtract, Multiply)
INPUTS = Inputs(tables=(), numeric=("x",))


def numbers(shape, draw):
    """Random numbers, a third of them special."""
    x = np.array(draw.standard_normal(shape), np.float32)
    chosen = draw.random(shape) < 0.3
    x[chosen] = draw.choice(SPECIAL, int(chosen.sum()))
    return x


def same_numbers(a, b):
    """Compare bits; those of a NaN are up to the device."""
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    same_bits(np.where(np.isnan(a), np.float32(0), a), np.where(np.isnan(b), np.float32(0), b))


def computed(kind, operands, **arguments):
    """What the runtime's operation makes of arrays with rows."""
    shapes = tuple((BATCH, *operand.shape[1:]) for operand in operands)
    run = kind(arguments, shapes, Weights({}), INPUTS).prepare(None)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(run(*operands))


def with_gap(x, gap):
    """Rows with something behind each, and the elements from row to row."""
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    rows = np.full((len(x), flat.shape[1] + gap), 77, np.float32)
    rows[:, : flat.shape[1]] = flat
    return rows, rows.shape[1]


def merged(lengths, a, b):
    """Axes as the planner has them."""
    axes = Axes.of(lengths, a, b)
    return axes.lengths, axes.a, axes.b


@settings(max_examples=30)
@given(st.integers(0, 1500), st.booleans(), seeds)
def test_relu_is_that_of_the_cpu(host, count, in_place, seed):
    x = numbers(count, np.random.default_rng(seed))
    expected = np.where(x <= 0, np.float32(0), x)
    np.testing.assert_array_equal(expected, np.maximum(x, np.float32(0)))
    y = x if in_place else np.full(count, 77, np.float32)
    launch(host, "relu_float32", element_blocks(1, count), x, count, y)
    same_numbers(y, expected)


class Operand:
    """A random operand of a pair: with rows and perhaps a gap behind each, or a constant."""

    def __init__(self, lengths, rows, constant, draw):
        kept = [1 if draw.random() < 0.3 else length for length in lengths]
        if constant:
            # Fewer axes too.
            kept = kept[int(draw.integers(0, len(kept) + 1)) :]
        self.array = numbers((*([] if constant else [rows]), *kept), draw)
        whole = [1] * (len(lengths) - len(kept)) + kept
        pairs = zip(strides_of(whole), whole, strict=True)
        self.strides = [0 if length == 1 else stride for stride, length in pairs]
        self.elements = math.prod(kept)
        self.buffer, self.row = self.array, 0
        if not constant:
            self.buffer, self.row = with_gap(self.array, int(draw.integers(0, 3)))


@settings(max_examples=80)
@given(rows_, lengths_, st.integers(0, 2), st.integers(0, 2), seeds)
def test_pairs_are_those_of_the_runtime(host, rows, lengths, kind, constant, seed):
    draw = np.random.default_rng(seed)
    a, b = (Operand(lengths, rows, constant == place, draw) for place in (0, 1))
    with np.errstate(all="ignore"):
        expected = PAIRS[kind].function(a.array, b.array)
    # Axes that both repeat have their length nowhere else.
    shape = np.broadcast_shapes((rows, *[1] * len(lengths)), a.array.shape, b.array.shape)
    lengths = shape[1:]
    elements = {"a_elements": a.elements, "b_elements": b.elements}
    y = np.full(shape, 77, np.float32)
    for axes in (
        pair_axes(lengths, a.strides, b.strides, **elements),
        pair_axes(*merged(lengths, a.strides, b.strides), **elements),
    ):
        total = int(axes["total"][0])
        assert total == math.prod(lengths)
        blocks = element_blocks(rows, total)
        y[...] = 77
        arguments = (kind, a.buffer, a.row, b.buffer, b.row, axes, rows, y)
        launch(host, "pair_float32", blocks, *arguments)
        same_numbers(y, expected.reshape(shape))


@settings(max_examples=60)
@given(rows_, lengths_, seeds)
def test_transposed_parts_are_those_of_numpy(host, rows, lengths, seed):
    draw = np.random.default_rng(seed)
    x = numbers((rows, *lengths), draw)
    axis, order = int(draw.integers(0, len(lengths))), draw.permutation(len(lengths))
    start, stop = sorted(draw.integers(0, lengths[axis] + 1, 2).tolist())
    part = computed(Slice, [x], axis=axis + 1, start=start, stop=stop)
    expected = np.ascontiguousarray(part.transpose(0, *(order + 1)))
    strides, shape = strides_of(lengths), expected.shape[1:]
    source, x_row = with_gap(x, 2)
    y, y_row = with_gap(np.full(expected.shape, 5, np.float32), 3)
    loop = merged(shape, [strides[i] for i in order], strides_of(shape))
    elements = (math.prod(lengths), math.prod(shape))
    axes = copy_axes(
        *loop, a_elements=elements[0], b_elements=elements[1], a_first=start * strides[axis]
    )
    blocks = element_blocks(rows, elements[1])
    launch(host, "copy_float32", blocks, source, x_row, axes, rows, y, y_row)
    same_bits(y, with_gap(expected, 3)[0])


@settings(max_examples=40)
@given(rows_, lengths_, st.integers(1, 3), seeds)
def test_values_side_by_side_are_those_of_the_runtime(host, rows, lengths, count, seed):
    draw = np.random.default_rng(seed)
    axis, parts = int(draw.integers(0, len(lengths))), []
    for _ in range(count):
        lengths[axis] = int(draw.integers(0, 5))
        parts.append(numbers((rows, *lengths), draw))
    expected = computed(Concat, parts, axis=axis + 1)
    y = np.full(expected.shape, 5, np.float32)
    to, strides = 0, strides_of(expected.shape[1:])
    y_row = math.prod(expected.shape[1:])
    for part in parts:
        shape, size = part.shape[1:], math.prod(part.shape[1:])
        loop = merged(shape, strides_of(shape), strides)
        axes = copy_axes(*loop, a_elements=size, b_elements=y_row, b_first=to)
        blocks = element_blocks(rows, size)
        launch(host, "copy_float32", blocks, part, size, axes, rows, y, y_row)
        to += shape[axis] * strides[axis]
    same_bits(y, expected)


def middle(lengths, axis):
    """Elements before, along and behind an axis."""
    return math.prod(lengths[:axis]), lengths[axis], math.prod(lengths[axis + 1 :])


@settings(max_examples=60)
@given(rows_, lengths_, seeds)
def test_sums_are_those_of_the_runtime(host, rows, lengths, seed):
    draw = np.random.default_rng(seed)
    axis = int(draw.integers(0, len(lengths)))
    x = numbers((rows, *lengths), draw)
    expected = computed(Sum, [x], axis=axis + 1)
    outer, count, inner = middle(lengths, axis)
    source, x_row = with_gap(x, 1)
    y = np.full(expected.shape, 77, np.float32)
    blocks = sum_blocks(rows, outer * inner)
    launch(host, "sum_float32", blocks, source, x_row, outer, count, inner, rows, y)
    same_numbers(y, expected)


def test_sums_keep_the_sign_of_zero_and_have_their_order(host):
    x = np.float32([[-0.0, -0.0], [1e8, -1e8], [0, -0.0]])
    y = np.full(3, 77, np.float32)
    launch(host, "sum_float32", 1, x, 2, 1, 2, 1, 3, y)
    same_bits(y, np.float32([-0.0, 0, 0]))
    x = np.float32([[1, 1e8, -1e8, 3]])
    launch(host, "sum_float32", 1, x, 4, 1, 4, 1, 1, y)
    assert y[0] == 3


@settings(max_examples=50)
@given(rows_, lengths_, st.integers(0, 7), seeds)
def test_taken_positions_are_those_of_the_runtime(host, rows, lengths, count, seed):
    draw = np.random.default_rng(seed)
    axis = int(draw.integers(0, len(lengths)))
    outer, length, inner = middle(lengths, axis)
    positions = draw.integers(0, length, count).tolist() if length else []
    x = numbers((rows, *lengths), draw)
    expected = computed(Take, [x], axis=axis + 1, positions=positions)
    source, x_row = with_gap(x, 1)
    y, count = np.full(expected.shape, 77, np.float32), len(positions)
    arguments = (outer, length, inner, take_positions(positions, length), count, rows, y)
    blocks = element_blocks(rows, outer * count * inner)
    launch(host, "take_float32", blocks, source, x_row, *arguments)
    same_bits(y, expected)


@settings(max_examples=60)
@given(
    *(rows_, st.integers(0, 70), st.integers(0, 40), st.integers(0, 40)),
    *(st.integers(0, 255), st.booleans(), seeds),
)
def test_levels_are_those_of_the_cpu(host, rows, count, at, behind, zero, one, seed):
    draw, width = np.random.default_rng(seed), max(at + count + behind, 1)
    x = numbers((rows, count), draw)
    steps = draw.choice(np.float32([0.5, 30, 1e-3, 1e30]), 1 if one else width)
    # What others wrote stays, the padding becomes 0.
    y = np.full((rows, level_row_words(width)), 0xEEEEEEEE, "<u4")
    arguments = (x, count, rows, at, width, level_inverse(steps, width), zero, y)
    launch(host, "quantise_levels", warp_blocks(rows), *arguments)
    expected = np.full((rows, width), 0xEE, np.uint8)
    own = steps if one else steps[at : at + count]
    with np.errstate(all="ignore"):
        if count:
            expected[:, at : at + count] = quantise(x, own, zero)
    np.testing.assert_array_equal(y, levels_to_device_rows(expected))


def random_ids(tables, rows, draw):
    """Ids of which some are at the edges of what is valid, or beyond; and which rows are valid."""
    ids, valid = [], np.ones(rows, bool)
    for table in tables:
        edges = np.array([table.lowest, table.rows - 1, 0])
        part = draw.choice(edges, (rows, table.slots))
        if draw.random() < 0.3:
            wrong = np.array([table.lowest - 1, table.rows, PADDING, PADDING + 1, 2**31 - 1])
            wrong = wrong.clip(-(2**31), 2**31 - 1)
            chosen = draw.random(part.shape) < 0.05
            part[chosen] = draw.choice(wrong, int(chosen.sum()))
        valid &= is_valid_id(part, table.lowest, table.rows, table.padded).all(axis=1)
        ids.append(part)
    return np.concatenate(ids, axis=1).astype(np.int32), valid


@settings(max_examples=80)
@given(rows_, st.integers(1, 4), seeds)
def test_the_first_row_of_wrong_ids_is_found(host, rows, columns, seed):
    draw, tables = np.random.default_rng(seed), []
    for c in range(columns):
        flags = {name: bool(draw.random() < 0.5) for name in ("signed", "padded")}
        size, slots = int(draw.choice([1, 7, 2**31 - 1])), int(draw.integers(1, 4))
        tables.append(Table(name=f"c{c}", rows=size, dim=1, slots=slots, **flags))
    ids, valid = random_ids(tables, rows, draw)
    ranges, slots, before = id_ranges(tables), ids.shape[1], ids.copy()
    first_bad = np.array([2**64 - 1], np.uint64)
    arguments = (ids, slots, ranges.lowest, ranges.counts, ranges.padded, rows, first_bad)
    launch(host, "check_ids", element_blocks(rows, slots), *arguments)
    assert first_bad[0] == (2**64 - 1 if valid.all() else int(valid.argmin()))
    # What is left is valid.
    np.testing.assert_array_equal(ids[valid], before[valid])
    lowest, counts, padding = ids - ranges.lowest.astype(np.int64), ranges.counts, ids == PADDING
    assert (((lowest >= 0) & (lowest < counts)) | (padding & (ranges.padded > 0))).all()
    # A row before it stays.
    first_bad[0], ids[:] = 0, before
    launch(host, "check_ids", element_blocks(rows, slots), *arguments)
    assert first_bad[0] == 0


@pytest.mark.parametrize("rows", [1, 5, 173])
def test_nothing_beyond_the_buffers_is_touched(host, rows):
    draw = np.random.default_rng(rows)
    x, constant = guarded(numbers((rows, 3, 5), draw)), guarded(numbers(5, draw))
    outputs = {n: guarded(np.zeros((rows, n), np.float32)) for n in (3, 5, 6, 15)}
    repeated = guarded(pair_axes([3, 5], [5, 1], [0, 1], a_elements=15, b_elements=5))
    turned = guarded(copy_axes([5, 3], [1, 5], [3, 1], a_elements=15, b_elements=15))
    positions = guarded(take_positions([4, 0], 5))
    inverse = guarded(level_inverse(np.ones(1, np.float32), 40))
    levels = guarded(np.zeros((rows, level_row_words(40)), "<u4"))
    tables = [Table(name=name, rows=4, dim=1, slots=3) for name in "ab"]
    ids, ranges = guarded(draw.integers(-1, 5, (rows, 6)).astype(np.int32)), id_ranges(tables)
    limits = [guarded(array) for array in (ranges.lowest, ranges.counts, ranges.padded)]
    first_bad = guarded(np.array([2**64 - 1], np.uint64))

    def run():
        all_elements = element_blocks(rows, 15)
        launch(host, "relu_float32", all_elements, x, 15 * rows, outputs[15])
        pair = (x, 15, constant, 0, repeated, rows, outputs[15])
        launch(host, "pair_float32", all_elements, 2, *pair)
        launch(host, "copy_float32", all_elements, x, 15, turned, rows, outputs[15], 15)
        launch(host, "sum_float32", sum_blocks(rows, 3), x, 15, 3, 5, 1, rows, outputs[3])
        launch(host, "sum_float32", sum_blocks(rows, 5), x, 15, 1, 3, 5, rows, outputs[5])
        take = (x, 15, 3, 5, 1, positions, 2, rows, outputs[6])
        launch(host, "take_float32", element_blocks(rows, 6), *take)
        quantised = (x, 15, rows, 25, 40, inverse, 9, levels)
        launch(host, "quantise_levels", warp_blocks(rows), *quantised)
        launch(host, "check_ids", element_blocks(rows, 6), ids, 6, *limits, rows, first_bad)

    assert survives(run)


def test_rows_beyond_32_bits(host):
    # Rows of 6 numbers; a block of elements is not whole rows.
    rows = (1 << 30) + 77
    x, y = unbacked(rows * 6, np.float32), unbacked(rows * 6, np.float32)
    assert len(x) > 2**32
    last = np.arange(-3, 9, dtype=np.float32).reshape(2, 6)
    x[-12:] = last.reshape(-1)
    constant, blocks = np.arange(6, dtype=np.float32), element_blocks(rows, 6)
    axes = pair_axes([6], [1], [1], a_elements=6, b_elements=6)
    arguments = (1, x, 6, constant, 0, axes, rows, y)
    launch(host, "pair_float32", 1, *arguments, first=blocks - 1)
    np.testing.assert_array_equal(y[-12:].reshape(2, 6), last - constant)
    axes = copy_axes([3, 2], [1, 3], [2, 1], a_elements=6, b_elements=6)
    launch(host, "copy_float32", 1, x, 6, axes, rows, y, 6, first=blocks - 1)
    turned = last.reshape(2, 2, 3).transpose(0, 2, 1).reshape(2, 6)
    np.testing.assert_array_equal(y[-12:].reshape(2, 6), turned)
    positions = take_positions([5, 0, 1, 2, 3, 4], 6)
    arguments = (x, 6, 1, 6, 1, positions, 6, rows, y)
    launch(host, "take_float32", 1, *arguments, first=blocks - 1)
    np.testing.assert_array_equal(y[-12:].reshape(2, 6), last[:, positions])
    launch(host, "relu_float32", 1, x, rows * 6, y, first=element_blocks(1, rows * 6) - 1)
    np.testing.assert_array_equal(y[-12:].reshape(2, 6), last.clip(0))
    inverse, levels = level_inverse(np.ones(1, np.float32), 6), unbacked(rows * 32, np.uint8)
    arguments = (x, 6, rows, 0, 6, inverse, 100, levels)
    launch(host, "quantise_levels", 1, *arguments, first=warp_blocks(rows) - 1)
    assert levels[-32:].tolist() == [*(last[1] + 100).tolist(), *[0] * 26]


def test_sums_beyond_32_bits(host):
    rows = (1 << 32) + 77
    x, y = unbacked(rows * 2, np.float32), unbacked(rows, np.float32)
    x[-4:] = [1, 2, 3, 4]
    launch(host, "sum_float32", 1, x, 2, 1, 2, 1, rows, y, first=sum_blocks(rows, 1) - 1)
    assert y[-3:].tolist() == [0, 3, 7]


def test_ids_beyond_32_bits(host):
    rows = (1 << 32) + 77
    ids, ranges = unbacked(rows * 2, np.int32), id_ranges([Table("a", rows=3, dim=1, slots=2)])
    ids[-3:] = [3, 0, -1]
    first_bad = np.array([2**64 - 1], np.uint64)
    arguments = (ids, 2, ranges.lowest, ranges.counts, ranges.padded, rows, first_bad)
    launch(host, "check_ids", 1, *arguments, first=element_blocks(rows, 2) - 1)
    assert first_bad[0] == rows - 2


def test_axes_are_laid_out_as_in_the_source(host):
    layout = list((ctypes.c_int * 8).in_dll(host, "AXES_LAYOUT"))
    assert layout == [AXES.itemsize, *(AXES.fields[name][1] for name in AXES.names)]

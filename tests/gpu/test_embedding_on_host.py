"""The source of the look-up, compiled for the host, against the runtime's."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import pack_index4, quantise
from spark_ctr.kernels.cuda import (
    COLUMN,
    EmbeddingColumn,
    embedding_columns,
    level_inverse,
    level_row_words,
    levels_to_device_rows,
    warp_blocks,
)
from spark_ctr.runtime.lookup import Lookup, blocks_of
from spark_ctr.runtime.stacked_rows import Coarse, StackedRows
from spark_ctr.tables import PADDING, Inputs, Table
from tests.gpu.host import guarded, launch, survives, unbacked
from tests.gpu.test_software_model import same_bits

seeds = st.integers(0, 2**32 - 1)


class Case:
    """Random tables of one layer in some order, their look-up and the columns of the kernel.

    Embeddings begin behind `before` numbers, those of the output that the look-up is not to touch.
    """

    def __init__(self, dim, seed, *, count=4, coarse=True, before=3):
        draw = self.draw = np.random.default_rng(seed)
        self.dim, self.before, self.width = dim, before, before + count * dim + 1
        tables = [self._table(i, dim) for i in range(count)]
        self.inputs = Inputs(tables=tuple(tables), numeric=())
        columns = draw.permutation(count).tolist()
        blocks, rows = blocks_of(tables, columns)
        coarse_of = [self._coarse(n) if coarse else Coarse() for n in rows]
        fine, packed = (sum(c.rows for c in coarse_of), sum(rows))
        fine, packed = packed - fine, fine
        index = draw.integers(-128, 128, (fine, dim)).astype(np.int8)
        nibbles = draw.integers(0, 16, (packed, dim))
        self.nibbles = pack_index4(nibbles, draw.integers(1, 9, packed)) if packed else None
        stacked = StackedRows(index, self.nibbles, rows, coarse_of)
        self.index = index
        scale = draw.choice(np.float32([0.01, 0.37, 1e-39, 0, 5e30]), len(rows))
        minimum = draw.choice(np.float32([-1.28, 0, -0.0, 3, -1e-38]), len(rows))
        self.lookup = Lookup(self.inputs, columns, stacked, scale, minimum)
        slots = np.cumsum([0, *[table.slots for table in tables]])
        self.ids_width = int(slots[-1])
        self.columns = []
        # In the order of the look-up's output, so that the two can be compared.
        for place, c in enumerate(self.lookup.order):
            block, table = blocks[columns.index(c)], tables[c]
            one = EmbeddingColumn(
                rows=table.rows,
                start=stacked.starts[block],
                scale=scale[block],
                minimum=minimum[block],
                slot=int(slots[c]),
                at=before + place * dim,
                slots=table.slots,
                mean=table.pooling == "mean",
                padded=table.padded,
                first=coarse_of[block].first,
                last=coarse_of[block].last,
                coarse_start=stacked.coarse_starts[block],
            )
            self.columns.append(one)

    def _table(self, i, dim):
        draw = self.draw
        shared = draw.random() < 0.3
        return Table(
            name=f"c{i}",
            rows=9 if shared else int(draw.integers(1, 30)),
            dim=dim,
            slots=int(draw.integers(1, 5)),
            pooling=str(draw.choice(["mean", "sum"])),
            signed=bool(draw.random() < 0.5),
            padded=bool(draw.random() < 0.5),
            shared="same" if shared else "",
        )

    def _coarse(self, rows):
        first, last = sorted(self.draw.integers(0, rows + 1, 2).tolist())
        return Coarse(first, last)

    def ids(self, rows):
        """Valid ids, int64 [rows, ids_width], often PADDING where it may be."""
        parts = []
        for table in self.inputs.tables:
            ids = self.draw.integers(table.lowest, table.rows, (rows, table.slots))
            if table.padded:
                ids[self.draw.random(ids.shape) < 0.4] = PADDING
            parts.append(ids)
        return np.concatenate(parts, axis=1)

    def prepared(self):
        return embedding_columns(
            self.columns,
            self.dim,
            ids_width=self.ids_width,
            width=self.width,
            index_rows=len(self.index),
            nibble_rows=0 if self.nibbles is None else len(self.nibbles),
        )

    def arguments(self, ids, copy=np.ascontiguousarray):
        """Arguments of the kernels up to the rows and the width."""
        nibbles = np.zeros(0, np.uint8) if self.nibbles is None else self.nibbles
        arrays = (copy(ids.astype(np.int32)), copy(self.prepared()))
        sizes = (self.ids_width, len(self.columns), self.dim)
        tables = (copy(self.index), copy(nibbles))
        return (arrays[0], sizes[0], arrays[1], *sizes[1:], *tables, len(ids), self.width)

    def expected(self, ids, around):
        """Rows of the output; `around` is what was in them."""
        rows = np.full((len(ids), self.width), around, np.float32)
        if len(ids):
            with np.errstate(over="ignore", invalid="ignore"):
                values = self.lookup(ids).reshape(len(ids), -1)
            rows[:, self.before : self.before + values.shape[1]] = values
        return rows


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 6), st.booleans(), seeds)
def test_embeddings_have_the_bits_of_the_runtime(host, rows, dim, count, coarse, seed):
    case = Case(dim, seed, count=count, coarse=coarse)
    ids = case.ids(rows)
    y = np.full((rows, case.width), -7.25, np.float32)
    launch(host, "embedding_float32", warp_blocks(rows), *case.arguments(ids), y)
    same_bits(y, case.expected(ids, -7.25))


@settings(max_examples=40)
@given(st.integers(0, 9), st.integers(1, 40), st.integers(0, 255), st.booleans(), seeds)
def test_levels_are_those_of_the_runtime(host, rows, dim, zero, one, seed):
    case = Case(dim, seed)
    ids = case.ids(rows)
    steps = case.draw.choice(np.float32([0.5, 30, 1e-3, 1e30]), 1 if one else case.width)
    inverse = level_inverse(steps, case.width)
    # What others wrote stays, the padding becomes 0.
    y = np.full((rows, level_row_words(case.width)), 0xEEEEEEEE, "<u4")
    arguments = (*case.arguments(ids), inverse, zero, y)
    launch(host, "embedding_levels", warp_blocks(rows), *arguments)
    with np.errstate(all="ignore"):
        expected = quantise(case.expected(ids, 0), steps, zero)
    expected[:, : case.before] = expected[:, -1:] = 0xEE
    np.testing.assert_array_equal(y, levels_to_device_rows(expected))


@pytest.mark.parametrize(("dim", "rows"), [(1, 1), (7, 5), (16, 4)])
def test_nothing_beyond_the_buffers_is_touched(host, dim, rows):
    for seed in range(8):
        case = Case(dim, seed)
        ids = np.concatenate([case.ids(rows)] * 8)
        arguments = case.arguments(ids, guarded)
        y = guarded(np.zeros((len(ids), case.width), np.float32))
        levels = guarded(np.zeros((len(ids), level_row_words(case.width)), "<u4"))
        inverse = guarded(level_inverse(np.ones(1, np.float32), case.width))
        blocks = warp_blocks(len(ids))

        def run(blocks=blocks, arguments=arguments, inverse=inverse, levels=levels, y=y):
            launch(host, "embedding_float32", blocks, *arguments, y)
            launch(host, "embedding_levels", blocks, *arguments, inverse, 9, levels)

        assert survives(run)


def test_tables_and_rows_beyond_32_bits(host):
    # The last row of each table, of a block that begins beyond 2**31 rows of 4 numbers.
    dim, start, rows = 4, (1 << 31) + 11, (1 << 32) + 3
    index = unbacked((start + 2) * dim, np.int8)
    nibbles = unbacked((start + 3) * 3, np.uint8)
    index[-dim:] = [1, -2, 3, -4]
    nibbles[-3:] = [2, 0x1F, 0x80]
    column = EmbeddingColumn(5, start, np.float32(1), np.float32(-128), 0, 0)
    column = replace(column, first=1, last=4, coarse_start=start)
    columns = embedding_columns(
        [column, replace(column, slot=1, at=dim)],
        dim,
        ids_width=2,
        width=8,
        index_rows=start + 2,
        nibble_rows=start + 3,
    )
    ids, y = unbacked(rows * 2, np.int32), unbacked(rows * 8, np.float32)
    levels = unbacked(rows * 32, np.uint8)
    ids[-2:] = [4, 3]
    assert min(len(index), len(y), len(levels)) > 2**32
    # Nibbles 15, 0, 1, 8 of factor 2.
    expected = [1, -2, 3, -4, 30, -30, -26, 2]
    first, arguments = warp_blocks(rows) - 1, (ids, 2, columns, 2, dim, index, nibbles, rows)
    launch(host, "embedding_float32", 1, *arguments, 8, y, first=first)
    assert y[-8:].tolist() == expected
    inverse = level_inverse(np.ones(1, np.float32), 8)
    launch(host, "embedding_levels", 1, *arguments, 8, inverse, 100, levels, first=first)
    assert levels[-32:].tolist() == [value + 100 for value in expected] + [0] * 24


def test_columns_are_laid_out_as_in_the_source(host):
    layout = list((ctypes.c_int * 11).in_dll(host, "COLUMN_LAYOUT"))
    assert layout == [COLUMN.itemsize, *(COLUMN.fields[name][1] for name in COLUMN.names)]

"""Preparation of 8-bit layers, levels and columns of a look-up for the device."""

from dataclasses import replace

import numpy as np
import pytest

from spark_ctr.kernels.cuda import (
    EmbeddingColumn,
    IntegerLayer,
    embedding_columns,
    level_inverse,
    level_row_words,
    levels_from_device_rows,
    levels_to_device_rows,
)

COLUMN = EmbeddingColumn(
    rows=10, start=5, scale=np.float32(0.5), minimum=np.float32(-3), slot=1, at=4
)
LAYER = {"dim": 4, "ids_width": 3, "width": 8, "index_rows": 15}


@pytest.mark.parametrize(("k", "words"), [(1, 8), (32, 8), (33, 16), (1024, 256)])
def test_rows_of_levels_are_padded_to_tiles(k, words):
    assert level_row_words(k) == words
    levels = np.random.default_rng(k).integers(0, 256, (3, k)).astype(np.uint8)
    rows = levels_to_device_rows(levels)
    assert rows.shape == (3, words) and rows.dtype == np.uint32
    assert rows[0].tobytes() == levels[0].tobytes() + bytes(4 * words - k)
    np.testing.assert_array_equal(levels_from_device_rows(rows, k), levels)


def test_rows_that_are_no_levels_are_refused():
    for wrong in (np.zeros((2, 3)), np.zeros(3, np.uint8), np.zeros((2, 0), np.uint8)):
        with pytest.raises(ValueError, match="uint8 or int8 matrix"):
            levels_to_device_rows(wrong)
    with pytest.raises(ValueError, match="uint32 matrix of 16 columns"):
        levels_from_device_rows(np.zeros((1, 8), np.uint32), 33)


def test_a_layer_by_hand():
    index = np.array([[1, -2, 3], [127, 127, -128]], np.int8)
    layer = IntegerLayer(index, np.float32([2, 3]), np.float32([5, 7]), 10)
    assert (layer.inputs, layer.outputs) == (3, 2)
    assert layer.start[:2].tolist() == [-20, -1260] and not layer.start[2:].any()
    assert layer.start.dtype == np.int32
    # Lane 0 holds words 0 and 1 of column 0, lane 4 those of column 1.
    assert layer.weight.view(np.int8).reshape(-1, 16)[0, :4].tolist() == [1, -2, 3, 0]
    assert layer.weight.view(np.int8).reshape(-1, 16)[4, :4].tolist() == [127, 127, -128, 0]
    for padded, values in ((layer.scale, [2, 3]), (layer.bias, [5, 7])):
        assert padded.shape == (64,) and padded[:2].tolist() == values and not padded[2:].any()


def test_layers_that_do_not_fit_are_refused():
    index, ones = np.ones((3, 5), np.int8), np.ones(3, np.float32)
    wrong = [
        ((index.astype(np.uint8), ones, ones, 0), "int8 matrix"),
        ((index[0], ones, ones, 0), "int8 matrix"),
        ((index[:, :0], ones, ones, 0), "1 to 32768 columns"),
        ((np.ones((3, 32769), np.int8), ones, ones, 0), "1 to 32768 columns"),
        ((index, ones, ones, 256), "zero must be in"),
        ((index, ones, ones, -1), "zero must be in"),
        ((index, ones[:2], ones, 0), "scale must be float32"),
        ((index, ones, ones * np.float32(np.nan), 0), "bias must be finite"),
        ((index[:0], ones[:0], ones[:0], 0), "no rows"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            IntegerLayer(*arguments)


def test_steps_of_levels():
    assert level_inverse(np.float32([2]), 3).tolist() == [2, 2, 2] + [0] * 61
    assert level_inverse(np.float32([2, 4]), 2)[:3].tolist() == [2, 4, 0]
    for wrong, message in (
        (np.float32([1, 2]), "inverse must be float32"),
        (np.ones(3), "inverse must be float32"),
        (np.float32([1, 0, 1]), "above 0"),
        (np.float32([np.inf]), "finite"),
        (np.float32([np.nan]), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            level_inverse(wrong, 3)


def test_columns_by_hand():
    one = replace(COLUMN, first=2, last=6, coarse_start=1, slots=2, padded=True, start=9)
    columns = embedding_columns([COLUMN, replace(one, mean=False, at=0)], **LAYER, nibble_rows=5)
    assert columns[0].tolist() == (5, 0, 0, 0, 1, 1, 4, 1, 0.5, 61)
    assert columns[1].tolist() == (9, 1, 2, 6, 1, 2, 0, 0, 0.5, 61)
    assert embedding_columns([one], **LAYER, nibble_rows=5)["pooling"].tolist() == [2]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 11},
        {"rows": 2**31},
        {"start": 6},
        {"start": -1},
        {"slot": 3},
        {"slot": -1},
        {"slots": 3},
        {"slots": 0},
        {"at": 5},
        {"at": -1},
        {"first": 3, "last": 2},
        {"first": -1, "last": 0},
        {"first": 9, "last": 11},
        {"first": 2, "last": 8},
        {"first": 2, "last": 4, "coarse_start": 4},
        {"coarse_start": -1},
    ],
)
def test_columns_that_leave_a_buffer_are_refused(change):
    embedding_columns([COLUMN], **LAYER, nibble_rows=5)
    with pytest.raises(ValueError, match="leaves the rows"):
        embedding_columns([replace(COLUMN, **change)], **LAYER, nibble_rows=5)


@pytest.mark.parametrize("change", [{"dim": 0}, {"width": 3}, {"width": 2**22 + 1}])
def test_rows_of_the_output_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match="do not fit rows of"):
        embedding_columns([COLUMN], **{**LAYER, **change})
    with pytest.raises(ValueError, match="0 columns"):
        embedding_columns([], **LAYER)

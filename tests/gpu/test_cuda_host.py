"""Host side of the CUDA kernels: buffers, thresholds, geometry, sources."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.kernels import pack_signs
from spark_ctr.kernels.cuda import (
    CompilerMissingError,
    FloatLayer,
    SignLayer,
    compile_kernels,
    element_blocks,
    from_device_rows,
    geometry,
    linear_blocks,
    oracle_blocks,
    row_chunks,
    row_words,
    source_folder,
    sources,
    sum_blocks,
    to_device_rows,
    warp_blocks,
    weights,
)

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def layer(outputs=3, inputs=10, scale=1.0, bias=0.0, signs=None):
    """Arguments of a layer, by default of ones."""
    signs = np.ones((outputs, inputs)) if signs is None else signs
    full = (np.full(len(signs), value, np.float32) for value in (scale, bias))
    return (pack_signs(signs), inputs, *full)


@pytest.mark.parametrize(("k", "words"), [(1, 8), (255, 8), (256, 8), (257, 16), (1024, 32)])
def test_rows_are_padded_to_tiles(k, words):
    assert row_words(k) == words
    x = np.random.default_rng(k).standard_normal((3, k))
    rows = to_device_rows(pack_signs(x), k)
    assert rows.shape == (3, words) and rows.dtype == np.uint32
    for i in range(k):
        np.testing.assert_array_equal(rows[:, i // 32] >> i % 32 & 1, x[:, i] > 0)
    np.testing.assert_array_equal(from_device_rows(rows, k), pack_signs(x))


def test_padding_of_rows_is_zero():
    rows = to_device_rows(pack_signs(np.ones((2, 37))), 37)
    assert rows.tolist() == [[2**32 - 1, 31, 0, 0, 0, 0, 0, 0]] * 2


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="to hold 17 signs"):
        to_device_rows(pack_signs(np.ones((2, 16))), 17)
    rows = to_device_rows(pack_signs(np.ones((2, 16))), 16)
    for wrong, k in ((rows, 257), (rows[0], 16), (rows.view(np.int32), 16), (rows, 0)):
        with pytest.raises(ValueError, match="uint32 matrix"):
            from_device_rows(wrong, k)


def test_a_layer_by_hand():
    signs = np.array([[1, 1, -1], [-1, -1, -1]])
    made = FloatLayer(*layer(signs=signs, inputs=3, scale=2, bias=5))
    assert made.offset[:2].tolist() == [-1, 3]
    # Lane 0 holds words 0 and 1 of column 0, and of column 8; lane 4 those of column 1.
    assert made.weight[:4].tolist() == [3, 0, 0, 0] and not made.weight[4:].any()
    for padded, value in ((made.scale, 2), (made.bias, 5)):
        assert padded.shape == (64,) and padded[:2].tolist() == [value] * 2
        assert not padded[2:].any()
    # Dot products -3, -1, 1, 3 give -1, 3, 7, 11: positive from the second on. The rows of the
    # weight have 2 bits and 0.
    threshold = SignLayer(*layer(signs=signs, inputs=3, scale=2, bias=5)).threshold
    assert threshold[:2].tolist() == [1 - 3 + 2, 1 - 3 + 0]
    assert (threshold[2:] == 2**31 - 1).all()


def test_rows_of_negative_scale_are_flipped():
    signs = np.array([[1, -1, 1], [1, -1, 1]])
    packed, inputs, _, bias = layer(signs=signs, inputs=3)
    made = SignLayer(packed, inputs, np.float32([1, -1]), bias)
    words = made.weight.reshape(-1, 32, 4)[0]
    assert (words[0, 0], words[4, 0]) == (0b101, 0b010)


@given(st.integers(1, 60), floats, floats)
def test_thresholds_are_those_of_the_float_arithmetic(inputs, scale, bias):
    dots = np.arange(-inputs, inputs + 1, 2)
    scales, biases = np.float32([abs(scale)]), np.float32([bias])
    first = weights.first_positive(inputs, scales, biases)[0]
    with np.errstate(over="ignore"):
        positive = dots.astype(np.float32) * scales + biases > 0
    np.testing.assert_array_equal(np.arange(inputs + 1) >= first, positive)


@given(st.integers(2**23, 2**24 - 1), floats, st.integers(-(2**24), 2**24))
def test_thresholds_of_wide_layers(inputs, scale, near):
    scales = np.float32([abs(scale)])
    with np.errstate(over="ignore"):
        biases = np.float32([near]) * scales
    biases = np.nan_to_num(biases)
    first = int(weights.first_positive(inputs, scales, biases)[0])
    for i in {max(first - 1, 0), min(first, inputs)}:
        with np.errstate(over="ignore"):
            output = np.float32([2 * i - inputs]) * scales + biases
        assert (output > 0).item() is (i >= first)


@pytest.mark.parametrize("kind", [FloatLayer, SignLayer])
def test_layers_that_do_not_fit_are_refused(kind):
    signs, inputs, scale, bias = layer()
    wrong = [
        ((signs, 17, scale, bias), "to hold 17 signs"),
        ((signs, inputs, scale[:2], bias), "scale must be float32"),
        ((signs, inputs, scale, bias.astype(np.float64)), "bias must be float32"),
        ((signs, inputs, scale, np.float32([0, np.nan, 0])), "bias must be finite"),
        ((signs, inputs, np.float32([0, np.inf, 0]), bias), "scale must be finite"),
        ((signs[:0], inputs, scale[:0], bias[:0]), "no rows"),
        ((np.zeros((1, 2**21), np.uint8), 2**24, scale[:1], bias[:1]), "below 16777216"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            kind(*arguments)


def test_geometry_by_hand():
    assert [linear_blocks(rows, 64) for rows in (0, 1, 128, 129)] == [0, 1, 1, 2]
    assert [linear_blocks(128, n) for n in (1, 64, 65, 512)] == [1, 1, 2, 8]
    assert [warp_blocks(rows) for rows in (0, 4, 5)] == [0, 1, 2]
    assert [oracle_blocks(rows, 3) for rows in (0, 1, 43)] == [0, 1, 2]
    assert [element_blocks(rows, 8) for rows in (0, 1, 64, 65)] == [0, 1, 1, 2]
    assert [sum_blocks(rows, 8) for rows in (0, 1, 16, 17)] == [0, 1, 1, 2]
    assert element_blocks(5, 0) == sum_blocks(5, 0) == 0


@pytest.mark.parametrize("rows", [2**31, 2**40])
def test_grids_that_cuda_refuses_are_refused(rows):
    assert warp_blocks(2**31) == 2**29
    for blocks in (linear_blocks, oracle_blocks, element_blocks, sum_blocks):
        with pytest.raises(ValueError, match="row_chunks"):
            blocks(rows * 64, 512)
    with pytest.raises(ValueError, match="row_chunks"):
        warp_blocks(rows * 4)


def test_impossible_sizes_are_refused():
    for blocks in (linear_blocks, oracle_blocks):
        with pytest.raises(ValueError, match="outputs must be at least 1"):
            blocks(1, 0)
        with pytest.raises(ValueError, match="not in"):
            blocks(-200, 5)
    for blocks in (element_blocks, sum_blocks):
        with pytest.raises(ValueError, match="not in"):
            blocks(-200, 5)
        with pytest.raises(ValueError, match="elements must not be negative"):
            blocks(-1, -1)
    with pytest.raises(ValueError, match="row_bytes"):
        row_chunks(1, 0, 100)
    for rows, memory in ((-1, 10**6), (5, 127 * 10)):
        with pytest.raises(ValueError, match="cannot be cut"):
            row_chunks(rows, 10, memory)


@given(st.integers(0, 10**5), st.integers(1, 10**4), st.integers(128, 10**5))
def test_chunks_cover_all_rows_and_fit(rows, row_bytes, fitting):
    chunks = list(row_chunks(rows, row_bytes, fitting * row_bytes))
    assert [row for start, stop in chunks for row in (start, stop)] == sorted(
        [0, rows] * bool(rows) + [start for start, _ in chunks[1:]] * 2
    )
    assert all(0 < stop - start <= fitting for start, stop in chunks)
    assert all((stop - start) % geometry.BLOCK_ROWS == 0 for start, stop in chunks[:-1])


def test_chunks_beyond_32_bits_fit_the_grid():
    chunks = list(row_chunks(2**40, 1, 2**60, outputs=4096))
    assert chunks[0][0] == 0 and chunks[-1][1] == 2**40
    for start, stop in (chunks[0], chunks[-1]):
        assert 0 < linear_blocks(stop - start, 4096) <= geometry.MAX_BLOCKS
        assert 0 < warp_blocks(stop - start) <= geometry.MAX_BLOCKS


def test_sources_are_found():
    names = {file.name for file in source_folder().iterdir()}
    assert {"arithmetic.h", "embedding.cu", "embedding.h", "integer_linear.cu"} <= names
    assert {"binary_linear.cu", "binary_oracle.cu", "layout.h", "mma.h", "pack_signs.cu"} <= names
    assert {"axes.h", "elements.cu", "span.h", "warp_row.h", "warp_tile.h"} <= names


def test_missing_sources_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "FOLDERS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(FileNotFoundError, match="no CUDA sources"):
        source_folder()


def test_a_missing_compiler_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    with pytest.raises(CompilerMissingError, match=r"spark_ctr\[gpu\]"):
        compile_kernels("binary_linear", "sm_90")


def test_importing_loads_no_cuda():
    code = "import sys, spark_ctr.kernels.cuda; print([m for m in sys.modules if m[:4] == 'cuda'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr

"""Weights of 1-bit layers, prepared for the device: fragments, offsets, thresholds."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels.cuda.geometry import BLOCK_COLUMNS, TILE_WORDS, tiles
from spark_ctr.kernels.cuda.rows import to_device_rows
from spark_ctr.kernels.signs import check_packed

# float32 holds every integer up to here, so it holds every dot product.
_EXACT = 1 << 24
# No count reaches it: the sign of a column that is padding is 0.
_NEVER = np.iinfo(np.int32).max


class FloatLayer:
    """What ``binary_linear_float32`` reads besides its input.

    Parameters
    ----------
    signs : ndarray [N, ceil(K / 8)], uint8
        Packed weight signs, from `pack_signs`.
    inputs : int
        Number of inputs K, below 2**24.
    scale, bias : ndarray [N], float32
        Scale and bias of each output, finite.

    Attributes
    ----------
    weight : ndarray, uint32
        Weight bits in the order in which the lanes of a warp load them; 16-byte aligned on the
        device.
    offset : ndarray [padded N], int32
        ``K - 2 * popcount`` of each weight row.
    scale, bias : ndarray [padded N], float32
        Padded with zeros to a multiple of 64 outputs.

    Raises
    ------
    ValueError
        If the arrays do not fit one another, or `inputs` is out of range.
    """

    def __init__(self, signs: np.ndarray, inputs: int, scale: np.ndarray, bias: np.ndarray) -> None:
        bits = _weight_bits(signs, inputs, scale, bias)
        self.inputs, self.outputs = inputs, len(signs)
        self.weight = fragments(_words(bits))
        self.offset = padded((inputs - 2 * _counts(bits)).astype(np.int32), 0)
        self.scale, self.bias = padded(scale, 0), padded(bias, 0)


class SignLayer:
    """What ``binary_linear_signs`` reads besides its input.

    An output is positive where ``float32(dot) * scale + bias > 0``. With a scale that is not
    negative this float32 expression never falls as the dot product grows, since either rounding
    keeps the order. So it is positive from some dot product on, which is searched for with the very
    arithmetic of the CPU. A row of a negative scale is stored with all bits flipped, which negates
    dot product and scale, and the product of the two keeps its bits.

    Parameters
    ----------
    signs, inputs, scale, bias
        As `FloatLayer`'s.

    Attributes
    ----------
    weight : ndarray, uint32
        As `FloatLayer`'s, rows of negative scale flipped.
    threshold : ndarray [padded N], int32
        Bit n is 1 where ``2 * popcount(x & w) - popcount(x) >= threshold[n]``.

    Raises
    ------
    ValueError
        If the arrays do not fit one another, or `inputs` is out of range.
    """

    def __init__(self, signs: np.ndarray, inputs: int, scale: np.ndarray, bias: np.ndarray) -> None:
        bits = _weight_bits(signs, inputs, scale, bias)
        bits ^= (scale < 0)[:, None]
        self.inputs, self.outputs = inputs, len(signs)
        self.weight = fragments(_words(bits))
        # dot = 4 * popcount(x & w) - 2 * popcount(x) + K - 2 * popcount(w), and -K + 2 * first.
        first = first_positive(inputs, np.abs(scale), bias)
        self.threshold = padded((first - inputs + _counts(bits)).astype(np.int32), _NEVER)


def first_positive(inputs: int, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Find from which dot product on outputs are positive, among -K, -K + 2, ..., K.

    Parameters
    ----------
    inputs : int
        Number of inputs K, below 2**24.
    scale, bias : ndarray [N], float32
        Scale, not negative, and bias.

    Returns
    -------
    ndarray [N], int64
        The least i with ``float32(2 * i - K) * scale + bias > 0``, or K + 1 where there is none.
    """
    low = np.zeros(len(scale), np.int64)
    high = np.full(len(scale), inputs + 1, np.int64)
    # A product beyond float32 is an infinity of the right sign.
    with np.errstate(over="ignore"):
        while (low < high).any():
            middle = (low + high) // 2
            outputs = (2 * middle - inputs).astype(np.float32)
            outputs *= scale
            outputs += bias
            positive = outputs > 0
            open_ = low < high
            high = np.where(open_ & positive, middle, high)
            low = np.where(open_ & ~positive, middle + 1, low)
    return low


def _weight_bits(signs: np.ndarray, inputs: int, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the bits of a weight, uint8 [N, K], once it is checked."""
    check_packed("signs", signs, inputs)
    if inputs >= _EXACT:
        raise ValueError(f"inputs must be below {_EXACT} for exact products, got {inputs}")
    check_outputs(len(signs), scale, bias)
    return np.unpackbits(signs, axis=1, count=inputs, bitorder="little")


def _counts(bits: np.ndarray) -> np.ndarray:
    return bits.sum(axis=1, dtype=np.int64)


def _words(bits: np.ndarray) -> np.ndarray:
    return to_device_rows(np.packbits(bits, axis=1, bitorder="little"), bits.shape[1])


def check_outputs(outputs: int, scale: np.ndarray, bias: np.ndarray) -> None:
    """Check the scale and the bias of the outputs of a layer.

    Parameters
    ----------
    outputs : int
        Rows of its weight.
    scale, bias : ndarray

    Raises
    ------
    ValueError
        If there are no outputs, or either is not float32 [outputs] and finite.
    """
    if outputs == 0:
        raise ValueError("a layer needs outputs, its weight has no rows")
    for name, values in (("scale", scale), ("bias", bias)):
        if values.shape != (outputs,) or values.dtype != np.float32:
            raise ValueError(
                f"{name} must be float32 [{outputs}], got {values.dtype} {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite")


def padded(values: np.ndarray, filler: float) -> np.ndarray:
    """Pad a value for each output to whole blocks of columns.

    Parameters
    ----------
    values : ndarray [N]
    filler : float

    Returns
    -------
    ndarray [padded N], dtype of `values`
    """
    size = tiles(len(values), BLOCK_COLUMNS) * BLOCK_COLUMNS
    result = np.full(size, filler, values.dtype)
    result[: len(values)] = values
    return result


def fragments(words: np.ndarray) -> np.ndarray:
    """Put device rows of a weight into the order in which the lanes of a warp load them.

    Parameters
    ----------
    words : ndarray [N, W], uint32
        Rows of whole tiles of 8 words.

    Returns
    -------
    ndarray [padded N * W], uint32
        In the order [block of columns, tile, pair, lane, tile of the pair, half].
    """
    blocks = tiles(len(words), BLOCK_COLUMNS)
    rows = np.zeros((blocks * BLOCK_COLUMNS, words.shape[1]), words.dtype)
    rows[: len(words)] = words
    # [block, pair, tile of the pair, column, tile of inputs, quarter, half]; lane = 4 * column +
    # quarter.
    parts = rows.reshape(blocks, -1, 2, 8, words.shape[1] // TILE_WORDS, 4, 2)
    return np.ascontiguousarray(parts.transpose(0, 4, 1, 3, 5, 2, 6)).reshape(-1)

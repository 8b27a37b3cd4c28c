"""Layers on whole numbers: inputs of 8 bits (levels) times weights of 8 bits, summed exactly."""

from __future__ import annotations

import numpy as np

# float32 holds every whole number up to here.
_EXACT = 1 << 24
# Magnitudes of a level less its zero, and of an index.
_LEVEL, _INDEX = 255, 128
# Sums of so many products fit int32.
MOST_INPUTS = 1 << 15


def quantise(x: np.ndarray, inverse: np.ndarray, zero: int) -> np.ndarray:
    """Round numbers to levels of 8 bits.

    Parameters
    ----------
    x : ndarray [..., K], float32
    inverse : ndarray [1] or [K], float32
        Levels for a difference of 1, above 0.
    zero : int
        The level of 0, in [0, 255].

    Returns
    -------
    ndarray [..., K], uint8
        ``clamp(rint(x * inverse) + zero, 0, 255)`` in float32, half to even; NaN gives 0.
    """
    levels = x * inverse
    np.rint(levels, out=levels)
    levels += np.float32(zero)
    # Unlike `maximum`, `fmax` takes the number where the other is NaN.
    np.fmax(levels, np.float32(0), out=levels)
    np.minimum(levels, np.float32(255), out=levels)
    return levels.astype(np.uint8)


class IntegerLinear:
    """A linear layer of levels and 8-bit weights, prepared once.

    Computes ``float32(sum over k of (x[k] - zero) * index[n, k]) * scale[n] + bias[n]``: the sum is
    exact, so that results are the same to the bit on every machine and in every batch.

    The weight is kept as floating-point numbers, 4 or 8 bytes for each, by which BLAS computes the
    whole numbers without rounding.

    Parameters
    ----------
    index : ndarray [N, K], int8
        Weights.
    scale, bias : ndarray [N], float32
        Scale and bias of each output.
    zero : int
        The level of 0, in [0, 255].

    Raises
    ------
    ValueError
        If there are more than 32,768 inputs, whose sums may not fit 32 bits.
    """

    def __init__(self, index: np.ndarray, scale: np.ndarray, bias: np.ndarray, zero: int) -> None:
        inputs = index.shape[1]
        if inputs > MOST_INPUTS:
            raise ValueError(f"a layer has at most {MOST_INPUTS} inputs, got {inputs}")
        exact = np.float32 if inputs * _LEVEL * _INDEX < _EXACT else np.float64
        self._weight, self._zero = index.astype(exact).T, exact(zero)
        self._scale, self._bias = scale, bias

    def __call__(self, levels: np.ndarray) -> np.ndarray:
        """Return the outputs, float32 [B, N], of levels [B, K], uint8."""
        x: np.ndarray = levels.astype(self._weight.dtype)
        x -= self._zero
        outputs = np.matmul(x, self._weight).astype(np.float32, copy=False)
        outputs *= self._scale
        outputs += self._bias
        return outputs

"""The arrays of a program: what is read must be what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Weights:
    """Arrays by name.

    Parameters
    ----------
    arrays : mapping of str to ndarray

    Attributes
    ----------
    read : set of str
        Names of the arrays that were read.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._kernels: dict[Any, Any] = {}
        self.read: set[str] = set()

    def get(self, name: str, dtype: type[np.generic], *shape: int | None) -> np.ndarray:
        """Return an array after checking its dtype, its shape and that it is finite.

        Parameters
        ----------
        name : str
        dtype : type
        *shape : int or None
            Lengths of its axes; None for any. Without one, any shape will do.

        Raises
        ------
        ValueError
        """
        array = self._arrays.get(name)
        if array is None:
            raise ValueError(f"array '{name}' is missing")
        fits = not shape or (
            array.ndim == len(shape)
            and all(n in (None, found) for n, found in zip(shape, array.shape, strict=True))
        )
        if array.dtype != dtype or not fits:
            wanted = f" {list(shape)}".replace("None", "any") if shape else ""
            raise ValueError(
                f"array '{name}' is {array.dtype} {list(array.shape)}, "
                f"expected {np.dtype(dtype)}{wanted}"
            )
        if dtype is np.float32 and name not in self.read and not np.isfinite(array).all():
            raise ValueError(f"array '{name}' holds numbers that are not finite")
        self.read.add(name)
        return array

    def kernel(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the kernel of a layer, prepared once however many operations use the layer."""
        if key not in self._kernels:
            self._kernels[key] = make()
        return self._kernels[key]

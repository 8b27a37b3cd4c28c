"""The optional SIMD library (numkong), looked for once."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

logger = logging.getLogger("spark_ctr")


@functools.cache
def simd() -> ModuleType | None:
    """Return the numkong module, or None (said once in the log) where it cannot be imported."""
    try:
        import numkong
    except ImportError as error:
        logger.warning(
            "numkong cannot be imported (%s): 1-bit layers run on NumPy, with the same results "
            "but slower; pip install numkong",
            error,
        )
        return None
    return numkong

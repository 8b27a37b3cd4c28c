"""Packed models scored on a CUDA device, or by the CPU where that cannot be."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np

from spark_ctr.kernels.cuda import (
    CompileError,
    CompilerMissingError,
    CudaError,
    Device,
    open_device,
)
from spark_ctr.runtime.cuda_execution import CudaExecution
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.planner import NotNative

logger = logging.getLogger("spark_ctr")

_FAILURES = (CudaError, CompilerMissingError, CompileError, NotNative)


class CudaPredictor:
    """Logits by a device; `batches` keeps it at work while others are read.

    Parameters
    ----------
    model : PackedModel
    device : Device

    Raises
    ------
    CudaError, CompilerMissingError, CompileError, NotNative
        If the device, or its kernels, cannot compute the model.
    """

    def __init__(self, model: PackedModel, device: Device) -> None:
        self._execution = CudaExecution(model.program, len(model.tasks), device)
        self.batches = self._execution.batches

    def __call__(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Return logits, float32 [B, T], of ids, int [B, ids_width], and numbers [B, M]."""
        (logits,) = self.batches([(ids, numeric)])
        return logits


def cuda_predictor(
    model: PackedModel, ordinal: int, required: bool
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return what scores a model on a GPU.

    Parameters
    ----------
    model : PackedModel
    ordinal : int
        Among the GPUs that CUDA sees.
    required : bool
        Whether it is an error if the GPU cannot; else the CPU does, with the same scores, and says
        so once.

    Raises
    ------
    CudaError, CompilerMissingError, CompileError, NotNative
        If it cannot, and is required to.
    """
    try:
        return CudaPredictor(model, _device(ordinal))
    except _FAILURES as reason:
        if required:
            raise
        _say(str(reason))
        return model.predict_logits


@functools.cache
def _device(ordinal: int) -> Device:
    return open_device(ordinal)


@functools.cache
def _say(reason: str) -> None:
    logger.warning("scoring by the CPU, with the same scores, not by the GPU: %s", reason)

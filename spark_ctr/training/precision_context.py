"""Mixed precision of a training step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context for forward and loss: products of matrices in bfloat16, or as they are.

    Weights, their gradients, embedding look-ups and the loss stay float32. bfloat16 has float32's
    range, so that gradients need no scaling.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bfloat16"}
        "auto" is bfloat16 on GPUs and CPUs with instructions for it, float32 elsewhere.

    Raises
    ------
    ValueError
        For an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "auto":
        precision = "bfloat16" if computes_in_bfloat16(device) else "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for products in bfloat16, rather than emulates them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Of these names some torch versions have only some.
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)

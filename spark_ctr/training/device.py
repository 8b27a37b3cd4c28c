"""Where a network is trained, and the memory that took."""

from __future__ import annotations

import resource

import torch


def device_of(name: str) -> torch.device:
    """Resolve "auto", "cpu" or "cuda".

    Raises
    ------
    ValueError
        If no GPU is there for "cuda".
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("device 'cuda' was asked for but no GPU is available; use 'auto' or 'cpu'")
    if name == "cpu" or not there:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def peak_memory(device: torch.device) -> int:
    """Most memory so far in bytes: of the GPU's tensors, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

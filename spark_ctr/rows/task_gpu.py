"""The GPU that Spark gives a task, as CUDA counts it."""

from __future__ import annotations

import os
import sys


def gpu_of_task(device: str) -> int | None:
    """Return which of the GPUs that CUDA sees in this process is the task's.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        With ``"auto"`` a GPU only if Spark gave the task one; with ``"cuda"`` else the first one.

    Returns
    -------
    int or None
        An ordinal, or None for the CPU.

    Raises
    ------
    ValueError
        If Spark's name for the GPU is neither among CUDA_VISIBLE_DEVICES nor a number.
    """
    if device == "cpu":
        return None
    address = _address()
    if address is None:
        return 0 if device == "cuda" else None
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    # A script that asks the driver names GPUs of the host, of which CUDA may see a part.
    if address in visible:
        return visible.index(address)
    if not address.isdecimal():
        raise ValueError(
            f"Spark calls the task's GPU {address!r}, which is neither among CUDA_VISIBLE_DEVICES "
            "nor a number: see to the discovery script of spark.executor.resource.gpu"
        )
    return int(address)


def _address() -> str | None:
    """Return Spark's name for the first GPU of this task."""
    # Where Spark is not imported, there is no task.
    spark = sys.modules.get("pyspark")
    context = None if spark is None else spark.TaskContext.get()
    found = None if context is None else context.resources().get("gpu")
    return None if found is None or not found.addresses else str(found.addresses[0]).strip()

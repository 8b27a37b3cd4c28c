"""Which arrays the layers of a packed model hold."""

from __future__ import annotations

from typing import Any

import numpy as np

Part = tuple[type[np.generic], tuple[int, ...]]


def check_layout(layers: dict[str, dict[str, Any]], arrays: dict[str, np.ndarray]) -> None:
    """Check the arrays of a packed model against the layers of its header.

    Parameters
    ----------
    layers : dict of str to dict
        Description of each layer, by name; ``kind`` tells which.
    arrays : dict of str to ndarray
        Arrays under ``<layer>.<part>``.

    Raises
    ------
    ValueError
        If a kind is unknown, or an array is missing, superfluous or of a wrong dtype or shape.
    """
    expected: dict[str, Part] = {}
    for name, layer in layers.items():
        expected |= {f"{name}.{part}": form for part, form in _parts(name, layer).items()}
    missing, extra = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or extra:
        raise ValueError(
            f"packed model is damaged: arrays missing {missing}, superfluous {extra}; save the "
            "model again"
        )
    for name, (dtype, shape) in expected.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise ValueError(
                f"packed model is damaged: array '{name}' is {arrays[name].dtype} "
                f"{arrays[name].shape}, expected {np.dtype(dtype)} {shape}; save the model again"
            )


def _parts(name: str, layer: dict[str, Any]) -> dict[str, Part]:
    """Return dtype and shape of each array of a layer."""
    kind = layer.get("kind")
    if kind == "int8_embedding":
        columns = (len(layer["rows"]),)
        return {
            "index": (np.int8, (sum(layer["rows"]), layer["dim"])),
            "scale": (np.float32, columns),
            "minimum": (np.float32, columns),
        }
    if kind == "int8_linear":
        parts: dict[str, Part] = {
            "index": (np.int8, (layer["outputs"], layer["inputs"])),
            "scale": (np.float32, (1,)),
            "minimum": (np.float32, (1,)),
        }
        return parts | ({"bias": (np.float32, (layer["outputs"],))} if layer["has_bias"] else {})
    if kind == "binary_linear":
        outputs = layer["outputs"]
        return {
            "signs": (np.uint8, (outputs, -(-layer["inputs"] // 8))),
            "scale": (np.float32, (outputs,)),
            "bias": (np.float32, (outputs,)),
        }
    if kind in ("affine", "layer_norm"):
        width = (layer["width"],)
        return {"scale": (np.float32, width), "bias": (np.float32, width)}
    if kind == "vectors":
        return {"weight": (np.float32, (layer["rows"], layer["dim"]))}
    if kind == "bias":
        return {"bias": (np.float32, (1,))}
    raise ValueError(f"packed model has layer '{name}' of unknown kind {kind!r}; upgrade spark_ctr")

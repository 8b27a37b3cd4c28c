"""Checks of a saved packed model: what its bytes say must be what its network computes with."""

from __future__ import annotations

import json

from safetensors.numpy import load

from spark_ctr.precision.packed import PACKABLE, PackedModel
from spark_ctr.precision.packed_structure import check_header, check_numbers, check_structure
from spark_ctr.tables import Inputs

_MOST_IDS = 1 << 20  # ids of one row of data


def checked_packed_from_bytes(data: bytes) -> PackedModel:
    """Rebuild what :func:`spark_ctr.precision.serialization.packed_to_bytes` wrote.

    Whoever can write a file can write its checksum too, so shapes, types, numbers and the layers of
    the network are checked.

    Raises
    ------
    ValueError
        If the bytes are damaged or describe no packed network.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"the weights are damaged: {len(data)} bytes, header of {length}")
    try:
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["packed"])
        arrays = load(data)
    except Exception as error:  # safetensors has a type of its own for each kind of damage
        raise ValueError(f"the weights are damaged: {type(error).__name__} {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"the header of the weights is damaged: {header!r}")
    check_header(header)
    inputs = Inputs.from_dict(header.get("inputs"))  # type: ignore[arg-type]
    if inputs.ids_width > _MOST_IDS:
        raise ValueError(f"a row of data would have {inputs.ids_width} ids")
    # The structure first: building the model takes it for granted.
    described = inputs.to_dict()
    network = header.get("network")
    if network in PACKABLE:
        tables, layers = described["tables"], header["layers"]
        check_structure(network, tables, len(inputs.numeric), layers)
    model = PackedModel.from_arrays({**header, "inputs": described}, arrays)
    check_numbers(header["layers"], arrays)
    return model

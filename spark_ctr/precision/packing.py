"""From a quantisation-aware network to the packed model."""

from __future__ import annotations

from typing import Any

import numpy as np

from spark_ctr.networks.network import Network
from spark_ctr.precision.lowering import CannotPackError, lower
from spark_ctr.precision.qat import is_fp32, quantisable_layers
from spark_ctr.runtime.header import read_program
from spark_ctr.runtime.packed_model import PackedModel


def check_packable(network: Network) -> None:
    """Refuse a network that no packed program can compute.

    The weights do not matter: it may be untrained.

    Parameters
    ----------
    network : Network
        Left as it is.

    Raises
    ------
    ValueError
    """
    try:
        program = read_program(*_program(network))
        unread = sorted(set(quantisable_layers(network)) - set(program.layers()))
        if unread:
            raise CannotPackError(f"its logits do not depend on its layers {unread}")
    except CannotPackError as error:
        raise ValueError(
            f"network '{network.name}' cannot be quantised: {error}. Distil it into one of "
            "spark_ctr's own networks and quantise that: "
            "MixedPrecisionQuantizer(classifier=LayerwiseDistiller(teacher=..., student=...))"
        ) from error


def pack_network(network: Network) -> PackedModel:
    """Pack a network whose layers are all quantised.

    Linear layers and tables are stored at their 8 bits or 1 bit, everything else, matrices that
    are no linear layer included, as float32. Batch normalisation goes into the linear layer before
    it.

    Parameters
    ----------
    network : Network
        From `spark_ctr.precision.qat.prepare` with a plan that names every layer, usually
        trained since. Left as it is.

    Returns
    -------
    PackedModel
        Its logits are those of the network in evaluation mode, to float32 rounding, except that
        rounding can turn the sign of an input that is 0 to rounding.

    Raises
    ------
    ValueError
        If a layer is still FP32, or `check_packable` refuses the network.
    """
    for name, module in network.named_modules():
        if is_fp32(module):
            raise ValueError(
                f"layer '{name}' is still FP32; pack a network that prepare() made with a plan "
                "naming every layer"
            )
    try:
        return PackedModel.from_arrays(*_program(network))
    except CannotPackError as error:
        raise ValueError(f"network '{network.name}' cannot be packed: {error}") from error


def _program(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    builder, logits = lower(network)
    return builder.build(logits, network.tasks, network.name)

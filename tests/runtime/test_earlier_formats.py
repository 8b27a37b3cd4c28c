"""Models of formats 1 to 3, written as earlier versions wrote them, become programs."""

import numpy as np
import pytest
import torch
from packed_models import EARLIER, INPUTS, draw_rows, quantised, saved_bytes
from torch import nn

from spark_ctr.networks import Inputs, Table
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.numeric_fields import NumericFields
from spark_ctr.networks.output_bias import map_logits
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import Index8Linear
from spark_ctr.precision.quantised_arrays import (
    batch_norm_map,
    embedding_arrays,
    float_array,
    layer_norm_arrays,
    linear_arrays,
)
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

PLAIN = Inputs((Table("site", 9, 4), Table("ad", 7, 4)), ("x",))
MIXED = Inputs((Table("site", 9, 4), Table("ad", 7, 2)), ())
HIDDEN = {"hidden_layers": [9, 8, 7]}
CASES = [
    ("lr", {}),
    ("fm", {}),
    ("dnn", {**HIDDEN, "batch_norm": True}),
    ("dnn", {"hidden_layers": []}),
    ("deepfm", {**HIDDEN, "layer_norm": True}),
    ("dcnv2", {**HIDDEN, "batch_norm": True}),
    ("dcnv2", {"hidden_layers": [], "cross_layers": 3}),
]


def earlier_form(network, version):
    """Return header and arrays as versions before programs packed a network."""
    layers, arrays = {}, {}
    for name, module in network.named_modules():
        if isinstance(module, (Index8Linear, BinaryLinear)):
            kind, parts = linear_arrays(module)
            shape = {"inputs": module.in_features, "outputs": module.out_features}
            layers[name] = {"kind": kind, **shape}
            if kind == "linear":
                layers[name] |= {"kind": "int8_linear", "has_bias": "bias" in parts}
        elif isinstance(module, EmbeddingTables):
            for g, (weight, bags) in enumerate(zip(module.weights, module.bags, strict=True)):
                layer, dim = f"{name}.weights.{g}", weight.embedding_dim
                layers[layer] = {"kind": "int8_embedding", "rows": bags.rows, "dim": dim}
                found = embedding_arrays(weight, bags.rows)
                arrays |= {f"{layer}.{part}": array for part, array in found.items()}
            continue
        elif isinstance(module, NumericFields):
            rows, dim = module.weight.shape
            layers[name] = {"kind": "vectors", "rows": rows, "dim": dim}
            parts = {"weight": float_array(module.weight)}
        elif isinstance(module, nn.BatchNorm1d):
            layers[name] = {"kind": "affine", "width": module.num_features}
            parts = dict(zip(("scale", "bias"), batch_norm_map(module), strict=True))
        elif isinstance(module, nn.LayerNorm):
            width = module.normalized_shape[0]
            layers[name] = {"kind": "layer_norm", "width": width, "epsilon": module.eps}
            parts = layer_norm_arrays(module)
        else:
            continue
        arrays |= {f"{name}.{part}": array for part, array in parts.items()}
    if hasattr(network, "numeric"):
        layers["numeric"] = {"kind": "bias"}
        arrays["numeric.bias"] = float_array(network.numeric.bias)
    if version == 3:
        layers["logit"] = {"kind": "affine", "width": 1}
        line = float_array(network.logit_calibration[0])
        arrays |= {"logit.scale": line[:1], "logit.bias": line[1:]}
    inputs = network.inputs.to_dict()
    header = {"format_version": version, "network": network.name}
    return {**header, "inputs": inputs, "layers": layers}, arrays


@pytest.mark.parametrize(("inputs", "version"), [(PLAIN, 1), (MIXED, 1), (INPUTS, 2), (INPUTS, 3)])
@pytest.mark.parametrize(("name", "config"), CASES)
@torch.no_grad()
def test_logits_are_those_of_the_network(name, config, inputs, version):
    network = quantised(name, inputs, activations=False, **config)
    if version == 3:
        map_logits(network, 0.7, -0.3)
    model = PackedModel.from_arrays(*earlier_form(network, version))
    rows = draw_rows(inputs, 100)
    expected = network(*map(torch.from_numpy, rows)).numpy()
    logits = model.predict_logits(*rows)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())
    assert model.layers == pack_network(network).layers
    # What is saved again is of the new format.
    again = packed_from_bytes(packed_to_bytes(model))
    assert again.header["format_version"] == 6
    np.testing.assert_array_equal(again.predict_logits(*rows), logits)


@pytest.mark.parametrize("name", EARLIER)
def test_saved_models_are_saved_as_programs(name):
    model = packed_from_bytes(saved_bytes(name))
    again = packed_from_bytes(packed_to_bytes(model))
    assert packed_to_bytes(again) == packed_to_bytes(model) != saved_bytes(name)
    rows = draw_rows(model.inputs, 50)
    np.testing.assert_array_equal(again.predict_logits(*rows), model.predict_logits(*rows))


def test_layers_that_a_network_has_not_are_refused():
    header, arrays = earlier_form(quantised("dnn", PLAIN, activations=False, **HIDDEN), 1)
    norm = "mlp.layers.hidden_0.norm"
    odd = [
        ({**header, "network": "mmoe"}, "unknown network 'mmoe'"),
        ({**header, "network": []}, "unhashable|its header"),
        ({**header, "layers": {}}, "KeyError|is no table|is missing|layer"),
        ({**header, "layers": {**header["layers"], norm: {"kind": "affine"}}}, "norm"),
        ({**header, "layers": {**header["layers"], "more": {"kind": "bias"}}}, "'more'"),
    ]
    for bad, message in odd:
        with pytest.raises(ValueError, match=message):
            PackedModel.from_arrays(bad, arrays)

"""docs/packed_format.md against the packed models that there are."""

import json
import re
from pathlib import Path

import document_reader
import numpy as np
import pytest
from packed_models import EARLIER, INPUTS, draw_rows, quantised, saved_bytes

from spark_ctr.precision.packing import pack_network
from spark_ctr.runtime.kinds import KINDS
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "packed_format.md").read_text(encoding="utf-8")
NETWORKS = {
    "deepfm": {"hidden_layers": [9, 7, 5], "batch_norm": True},
    "dcnv2": {"hidden_layers": [10, 9], "layer_norm": True, "cross_rank": 2},
    "autoint": {"hidden_layers": [8], "attention_layers": 2, "attention_dim": 4},
    "fibinet": {"hidden_layers": [9, 9], "bilinear": "each"},
    "finalmlp": {"second_layers": [8], "first_context": ["two", "app"], "members": 2},
}


def test_every_kind_is_described():
    described = re.findall(r"^\| `(\w+)` \|.*\|.*\|.*\|$", DOCUMENT.split("## Operations")[1], re.M)
    assert described == list(KINDS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_reader_of_the_document_gives_the_same_logits(name):
    config = {"hidden_layers": [9, 7], **NETWORKS[name]}
    model = pack_network(quantised(name, coarse=name in ("dcnv2", "autoint"), **config))
    assert any("nibbles" in key for key in model.to_arrays()[1]) == (name in ("dcnv2", "autoint"))
    rows = draw_rows(INPUTS, 12)
    expected = document_reader.logits_of(*document_reader.read(packed_to_bytes(model)), *rows)
    # Many more operations than bits of these logits; an input of a 1-bit layer is far from 0.
    logits = model.predict_logits(*rows)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())


@pytest.mark.parametrize("name", EARLIER)
def test_it_reads_what_earlier_models_become(name):
    model = packed_from_bytes(saved_bytes(name))
    rows = draw_rows(model.inputs, 20)
    expected = document_reader.logits_of(*document_reader.read(packed_to_bytes(model)), *rows)
    np.testing.assert_allclose(model.predict_logits(*rows), expected, rtol=1e-5, atol=1e-6)


def test_the_tiny_example():
    text = DOCUMENT.split("## A tiny example")[1]
    program = json.loads(re.search(r"```json\n(.*?)```", text, re.S)[1])
    arrays = {
        "emb.index": np.array([[-128], [127], [-28]], np.int8),
        "hidden.index": np.array([[127, -128], [-128, 127]], np.int8),
        "output.signs": np.array([[1]], np.uint8),
    }
    for name, numbers in (
        ("emb.scale", [1]),
        ("emb.minimum", [0]),
        ("hidden.scale", [0.00390625]),
        ("hidden.minimum", [0]),
        ("hidden.bias", [-50, 0]),
        ("output.scale", [2]),
        ("output.bias", [0.5]),
    ):
        arrays[name] = np.array(numbers, np.float32)
    rows = np.array([[2]]), np.array([[-1.0]])
    assert document_reader.logits_of(program, arrays, *rows).tolist() == [[4.5]]
    assert PackedModel.from_arrays(program, arrays).predict_logits(*rows).tolist() == [[4.5]]

"""The packed model against the network it was packed from."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from agreement import assert_same_logits

from spark_ctr.kernels import simd
from spark_ctr.networks import NETWORKS, PADDING, Inputs, Table, build_network
from spark_ctr.networks.output_bias import map_logits
from spark_ctr.precision.packing import check_packable, pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.precision.sensitivity import binary_candidates
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

OWN = "tests.networks.own_networks"
CONFIGS = [
    ("lr", {}),
    ("fm", {}),
    *((name, {norm: True}) for name in ("dnn", "dcnv2", "deepfm") for norm in ("batch_norm",)),
    *((name, {"layer_norm": True}) for name in ("dnn", "dcnv2", "deepfm")),
    *((name, {}) for name in ("dnn", "dcnv2", "deepfm")),
    ("dnn", {"hidden_layers": []}),
    ("dcnv2", {"hidden_layers": [], "cross_layers": 3}),
    ("dcnv2", {"cross_layers": 0}),
    ("deepfm", {"hidden_layers": [5]}),
    ("dcnv2", {"cross_rank": 3, "cross_experts": 2}),
    *(("autoint", {norm: True}) for norm in ("attention_norm", "batch_norm")),
    ("autoint", {"hidden_layers": [], "heads": 4}),
    *(("fibinet", {"bilinear": kind}) for kind in ("interaction", "each", "all")),
    ("finalmlp", {"layer_norm": True}),
    ("finalmlp", {"heads": 3, "hidden_layers": [8, 9], "second_layers": [8, 6]}),
    ("dnn", {"members": 3, "batch_norm": True}),
    ("dcnv2", {"members": 2, "cross_rank": 2}),
    ("finalmlp", {"members": 2}),
]


def quantise(network, batch=None):
    """Make every candidate layer 1-bit and the rest 8-bit."""
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    plan |= dict.fromkeys(binary_candidates(network), "binary")
    return prepare(network, plan, None if batch is None else (batch.ids, batch.numeric)).eval()


def rows_of(batch):
    return batch.ids.numpy(), batch.numeric.numpy()


@pytest.fixture
def packed(make_network, make_batch):
    return pack_network(quantise(make_network("dnn"), make_batch()))


@pytest.mark.parametrize("inputs", ["mixed", "equal", "numeric", "slots", "double"])
@pytest.mark.parametrize(("name", "config"), CONFIGS)
@torch.no_grad()
def test_logits_are_those_of_the_network(name, config, inputs, make_network, make_batch):
    batch = make_batch(inputs, rows=1100)
    network = quantise(make_network(name, inputs, seed=2, **config), batch)
    model = pack_network(network)
    logits = model.predict_logits(*rows_of(batch))
    expected = network(batch.ids, batch.numeric).numpy().reshape(logits.shape)
    assert logits.dtype == np.float32 and expected.std() > 0
    assert_same_logits(logits, expected)
    assert model.layers.keys() == set(quantisable_layers(make_network(name, inputs, **config)))


@pytest.mark.parametrize("inputs", ["mixed", "slots"])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_do_not_depend_on_the_batch(name, inputs, make_network, make_batch):
    batch = make_batch(inputs, rows=1500)
    ids, numeric = batch.ids.numpy(), batch.numeric.numpy()
    model = pack_network(quantise(make_network(name, inputs), batch))
    whole = model.predict_logits(ids, numeric)
    for height in (1, 37, 1024):
        starts = range(0, 1500 if height > 1 else 40, height)
        parts = [model.predict_logits(ids[i : i + height], numeric[i : i + height]) for i in starts]
        logits = np.concatenate(parts)
        np.testing.assert_allclose(logits, whole[: len(logits)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Plain", "'clamp_min'.*Distil it"),
        ("Sorts", "'sort' is no operation of a packed program.*Distil it"),
        ("Branches", "torch.fx cannot trace it: TraceError.*control flow.*Distil it"),
        ("OwnTables", "module 'tables.0' is of Embedding; ids can be looked up by EmbeddingTables"),
        ("Idle", r"do not depend on its layers \['idle'\]"),
    ],
)
def test_refuses_what_it_cannot_compute(name, message):
    inputs = Inputs((Table("a", 7, 4),), ("x", "y"))
    network = build_network(f"{OWN}:{name}", inputs)
    with pytest.raises(ValueError, match=message):
        check_packable(network)


@torch.no_grad()
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", ["Named", "Fields"])
def test_networks_of_ones_own_that_can_be_traced_are_packed(
    name, members, make_network, make_batch
):
    batch = make_batch("slots", rows=200)
    network = make_network(f"{OWN}:{name}", "slots", members=members)
    check_packable(network)
    quantised = quantise(network, batch)
    logits = pack_network(quantised).predict_logits(*rows_of(batch))
    assert_same_logits(logits, quantised(batch.ids, batch.numeric).numpy())


@torch.no_grad()
def test_a_network_of_two_tasks_is_packed(make_network, make_batch):
    network, batch = make_network(f"{OWN}:TwoTasks", "slots"), make_batch("slots", rows=100)
    map_logits(network, 0.5, 1.0, task=1)
    quantised = quantise(network, batch)
    model = packed_from_bytes(packed_to_bytes(pack_network(quantised)))
    assert model.tasks == ("click", "buy")
    expected = quantised(batch.ids, batch.numeric).numpy()
    assert expected.shape == (100, 2)
    logits = model.predict_logits(*rows_of(batch))
    assert_same_logits(logits, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_checked_before_it_is_trained(name, make_network):
    check_packable(make_network(name, "slots", members=2))


def test_packing_leaves_the_network_as_it_is(make_network, make_batch):
    network = quantise(make_network("dnn", dropout=0.5, batch_norm=True), make_batch()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.mlp.layers["hidden_1"].eval()
    modes = [module.training for module in network.modules()]
    pack_network(network)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_saved_and_loaded_model_is_the_same(packed, make_batch, tmp_path):
    header, arrays = packed.to_arrays()
    np.savez(tmp_path / "model.npz", **arrays)
    (tmp_path / "header.json").write_text(json.dumps(header))
    batch = make_batch()
    with np.load(tmp_path / "model.npz", allow_pickle=False) as loaded:
        again = PackedModel.from_arrays(
            json.loads((tmp_path / "header.json").read_text()), dict(loaded)
        )
    ids, numeric = batch.ids.numpy(), batch.numeric.numpy()
    expected = packed.predict_logits(ids, numeric)
    np.testing.assert_array_equal(again.predict_logits(ids, numeric), expected)
    assert again.nbytes == packed.nbytes == sum(array.nbytes for array in arrays.values())


def test_prediction_needs_no_torch_and_no_numkong(packed, make_batch, tmp_path):
    header, arrays = packed.to_arrays()
    batch = make_batch()
    ids, numeric = batch.ids.numpy(), batch.numeric.numpy()
    np.savez(tmp_path / "model.npz", ids=ids, numeric=numeric, **arrays)
    (tmp_path / "header.json").write_text(json.dumps(header))
    script = """
import json, sys
for name in ("torch", "pyspark", "numkong"):
    sys.modules[name] = None
import numpy as np
from spark_ctr.kernels.native import library
from spark_ctr.runtime.packed_model import PackedModel
library.LIBRARY = "none"
arrays = dict(np.load("model.npz"))
ids, numeric = arrays.pop("ids"), arrays.pop("numeric")
model = PackedModel.from_arrays(json.load(open("header.json")), arrays)
np.save("logits.npy", model.predict_logits(ids, numeric))
"""
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "numkong cannot be imported" in done.stderr
    logits = np.load(tmp_path / "logits.npy")
    expected = packed.predict_logits(ids, numeric)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(simd.simd() is None, reason="numkong is not installed")
def test_logits_with_and_without_numkong_are_identical(packed, make_batch, monkeypatch):
    rows = rows_of(make_batch())
    monkeypatch.setattr("spark_ctr.runtime.packed_model.native_execution", lambda *_: None)
    with_numkong = PackedModel.from_arrays(*packed.to_arrays()).predict_logits(*rows)
    monkeypatch.setattr("spark_ctr.kernels.binary.simd", lambda: None)
    without = PackedModel.from_arrays(*packed.to_arrays())
    np.testing.assert_array_equal(without.predict_logits(*rows), with_numkong)


def test_weights_are_packed(make_network):
    inputs = Inputs(tuple(Table(f"c{i}", 500, 8) for i in range(20)), ())
    network = build_network("dnn", inputs, {"hidden_layers": [256, 128, 64], "batch_norm": False})
    _, arrays = pack_network(quantise(network)).to_arrays()
    fp32 = {name: p.numel() * 4 for name, p in network.named_parameters()}
    for hidden in (1, 2):
        layer = f"mlp.layers.hidden_{hidden}.linear"
        assert fp32[f"{layer}.weight"] == 32 * arrays[f"{layer}.signs"].nbytes
    for layer in ("embedding.weights.0", "mlp.layers.hidden_0.linear", "output"):
        assert fp32[f"{layer}.weight"] == 4 * arrays[f"{layer}.index"].nbytes
    # What stays fp32 is one number for an output, a column or a layer.
    wide = [name for name, a in arrays.items() if a.dtype == np.float32 and a.size > 256]
    assert wide == []
    assert sum(fp32.values()) / pack_network(quantise(network)).nbytes > 4


def test_golden_logit():
    """A network whose every number can be followed by hand."""
    config = {"hidden_layers": [2, 2], "batch_norm": False}
    network = build_network("dnn", Inputs((Table("a", 3, 1),), ("x",)), config)
    with torch.no_grad():
        network.embedding.weights[0].weight.copy_(torch.tensor([[0.0], [127.0], [100.4]]))
        first, second = (network.mlp.layers[f"hidden_{i}"].linear for i in range(2))
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        first.bias.copy_(torch.tensor([-50.0, 0.0]))
        second.weight.copy_(torch.tensor([[0.5, -1.5], [-3.0, -1.0]]))
        second.bias.copy_(torch.tensor([0.25, 5.0]))
        network.output.weight.copy_(torch.tensor([[4.0, 4.0]]))
        network.output.bias.fill_(-1.0)
    model = pack_network(quantise(network))
    # id 2 reads 100; hidden_0 [50, 0], signs [+, -]; alpha [1, 2], dots [2, 0]:
    # hidden_1 [2.25, 5], with steps of 1 [2, 5] -> logit 8 + 20 - 1.
    # id 0, x 1: hidden_0 [0, 1], signs [-, +]; dots [-2, 0]: hidden_1 [0, 5] -> logit 19.
    logits = model.predict_logits(np.array([[2], [0]]), np.array([[-1.0], [1.0]]))
    assert logits[:, 0] == pytest.approx([27.0, 19.0], abs=1e-5)
    assert model.to_arrays()[1]["embedding.weights.0.index"].tolist() == [[0], [127], [100]]
    assert model.to_arrays()[1]["mlp.layers.hidden_1.linear.signs"].tolist() == [[1], [0]]


def test_golden_slots():
    """Every kind of id, on weights that 8 bits hold exactly."""
    tables = (
        Table("mean", 3, 1, slots=2),
        Table("signs", 3, 1, slots=2, pooling="sum", signed=True, shared="s"),
        Table("list", 3, 1, slots=3, padded=True, shared="s"),
    )
    network = build_network("lr", Inputs(tables, ()))
    with torch.no_grad():
        rows = torch.tensor([[0.0], [127.0], [10.0], [0.0], [127.0], [2.0]])
        network.embedding.weights[0].weight.copy_(rows)
        network.numeric.bias.fill_(1.0)
    model = pack_network(quantise(network))
    assert model.nbytes == 6 + 2 * 4 + 2 * 4 + 4
    none = [PADDING] * 3
    ids = [[1, 2, 1, 2, 0, 0, 1], [1, 1, ~1, 2, *none], [0, 0, ~2, ~2, 1, PADDING, 2]]
    # 68.5 + 129 + 127 / 3; 127 - 127 + 2; -2 - 2 + (127 + 2) / 2; and the bias.
    logits = model.predict_logits(np.array(ids), np.zeros((3, 0)))
    assert logits[:, 0] == pytest.approx([240.8333, 3.0, 61.5], abs=1e-4)


def test_no_rows(packed):
    assert packed.predict_logits(np.zeros((0, 4), np.int32), np.zeros((0, 2))).shape == (0, 1)


def test_wrong_rows_are_refused(packed):
    ids, numeric = np.zeros((2, 4), np.int32), np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"ids must have shape \[B, 4\]"):
        packed.predict_logits(ids[:, :3], numeric)
    with pytest.raises(ValueError, match="ids has 2 rows but numeric 1"):
        packed.predict_logits(ids, numeric[:1])
    for bad in (-1, 7):
        ids[1, 1] = bad
        with pytest.raises(IndexError, match=f"id {bad} of column 'hour' lies outside"):
            packed.predict_logits(ids, numeric)


def test_ids_outside_their_slots_are_refused(make_network, make_batch):
    model = pack_network(quantise(make_network("dnn", "slots")))
    for slot, bad, name in (
        (2, 30, "app"),
        (2, -1, "app"),
        (2, PADDING, "app"),
        (6, -10, "sign"),
        (6, PADDING, "sign"),
        (9, -1, "list"),
        (14, -10, "total"),
    ):
        ids = make_batch("slots", rows=3).ids.numpy()
        ids[1, slot] = bad
        with pytest.raises(IndexError, match=f"id {bad} of column '{name}' lies outside"):
            model.predict_logits(ids, np.zeros((3, 1)))


def test_fp32_layers_are_refused(make_network):
    with pytest.raises(ValueError, match="still FP32"):
        pack_network(prepare(make_network("dnn"), {"output": "int8"}))


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_slope_and_offset_of_the_logits_are_packed(name, make_network, make_batch):
    network = make_network(name)
    plain = pack_network(prepare(network, dict.fromkeys(quantisable_layers(network), "int8")))
    map_logits(network, 0.75, -0.5)
    map_logits(network, 2.0, 1.0)
    packed = pack_network(prepare(network, dict.fromkeys(quantisable_layers(network), "int8")))
    rows = rows_of(make_batch(rows=100))
    read = packed_from_bytes(packed_to_bytes(packed))
    expected = 1.5 * plain.predict_logits(*rows)
    np.testing.assert_allclose(read.predict_logits(*rows), expected, rtol=1e-5, atol=1e-5)
    assert read.predict_logits(*rows).dtype == np.float32


def test_logits_that_are_not_mapped_take_no_operation(make_network):
    network = make_network("dnn")
    kinds = [one["kind"] for one in pack_network(quantise(network)).header["operations"]]
    assert kinds == [
        "embed",
        "concat",
        *["quantise", "integer_linear", "relu"],
        *["binary_linear", "relu"] * 3,
        *["quantise", "integer_linear"],
    ]

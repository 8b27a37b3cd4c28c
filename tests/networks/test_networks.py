"""Blocks against explicit formulas, and what every network promises."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import SMALL, VARIANTS

from spark_ctr.networks import NETWORKS, Inputs, Table, build_network
from spark_ctr.networks import embedding as embedding_module
from spark_ctr.networks.cross import CrossNetwork
from spark_ctr.networks.embedding import EmbeddingTables
from spark_ctr.networks.fm import factorization_machine
from spark_ctr.networks.mlp import MLP

INPUTS = Inputs(
    (Table("site", 7, 4), Table("ad", 5, 2), Table("hour", 24, 4), Table("user", 11, 3)),
    ("age", "price"),
)


GATED = {**SMALL["finalmlp"], "first_context": ["user", "site"], "second_context": ["ad"]}


def rows(inputs, n, seed=0):
    draw = np.random.default_rng(seed)
    ids = np.zeros((n, len(inputs.tables)))
    for c, table in enumerate(inputs.tables):
        ids[:, c] = draw.integers(0, table.rows, n)
    numeric = draw.normal(size=(n, len(inputs.numeric)))
    return torch.tensor(ids, dtype=torch.int32), torch.tensor(numeric, dtype=torch.float32)


def table_rows(tables, ids):
    """Look up column by column, in plain Python, from the shared weights."""
    columns = {}
    for weight, group in zip(tables.weights, tables.groups, strict=True):
        offset = 0
        for c in group:
            columns[c] = weight.weight.detach()[ids[:, c].long() + offset]
            offset += tables.inputs.tables[c].rows
    return [columns[c] for c in range(len(columns))]


def test_embedding_shares_one_weight_per_dimension_and_keeps_column_order():
    tables = EmbeddingTables(INPUTS)
    assert [tuple(w.weight.shape) for w in tables.weights] == [(5, 2), (11, 3), (31, 4)]
    ids, _ = rows(INPUTS, 6)
    expected = torch.cat(table_rows(tables, ids), 1)
    assert torch.equal(tables(ids), expected)
    assert tables(ids).shape == (6, 13) and tables.width == 13


def test_fields_project_only_other_dimensions():
    tables = EmbeddingTables(INPUTS, field_dim=4)
    assert sorted(tables.projections) == ["2", "3"]
    ids, _ = rows(INPUTS, 6)
    columns = table_rows(tables, ids)
    fields = tables.fields(ids)
    assert fields.shape == (6, 4, 4)
    assert torch.equal(fields[:, 0], columns[0]) and torch.equal(fields[:, 2], columns[2])
    for c in (1, 3):
        matrix = tables.projections[str(INPUTS.tables[c].dim)].weight.detach()
        torch.testing.assert_close(fields[:, c], columns[c] @ matrix.T)
    with pytest.raises(ValueError, match="field_dim"):
        EmbeddingTables(INPUTS).fields(ids)


def test_tall_tables_give_sparse_gradients_of_the_same_value(monkeypatch):
    ids, _ = rows(INPUTS, 5)
    dense = EmbeddingTables(INPUTS)
    monkeypatch.setattr(embedding_module, "SPARSE_FROM_ROWS", 20)
    tall = EmbeddingTables(INPUTS)
    assert [w.sparse for w in tall.weights] == [False, False, True]
    tall.load_state_dict(dense.state_dict())
    for tables in (dense, tall):
        tables(ids).square().sum().backward()
    for a, b in zip(dense.weights, tall.weights, strict=True):
        torch.testing.assert_close(a.weight.grad, b.weight.grad.to_dense())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_factorization_machine_is_the_sum_over_pairs(n, columns, k, seed):
    fields = np.random.default_rng(seed).normal(size=(n, columns, k))
    expected = np.zeros(n)
    for b in range(n):
        for i in range(columns):
            for j in range(i + 1, columns):
                expected[b] += fields[b, i] @ fields[b, j]
    got = factorization_machine(torch.tensor(fields)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-10)


def test_cross_network_against_numpy():
    torch.manual_seed(0)
    cross = CrossNetwork(5, 3)
    x0 = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    x = x0
    with torch.no_grad():
        got, crosses = cross(torch.tensor(x0))
    for i, layer in enumerate(cross.layers):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        x = x0 * (x @ weight.T + bias) + x
        np.testing.assert_allclose(crosses[f"cross_{i}"], x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_mlp_against_numpy(norm):
    torch.manual_seed(0)
    mlp = MLP(3, [4, 2], dropout=0.5, norm=norm).eval()
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    with torch.no_grad():
        output, hidden = mlp(torch.tensor(x))
    assert list(hidden) == ["hidden_0", "hidden_1"]
    for name, layer in mlp.layers.items():
        x = x @ layer.linear.weight.detach().numpy().T + layer.linear.bias.detach().numpy()
        if norm == "batch":  # fresh running statistics are mean 0, variance 1
            x = x / np.sqrt(1 + 1e-5)
        if norm == "layer":
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = np.maximum(x, 0)
        np.testing.assert_allclose(hidden[name], x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output, x, rtol=1e-4, atol=1e-5)


def test_mlp_refuses_unknown_norm():
    with pytest.raises(ValueError, match="'batch', 'layer' or None"):
        MLP(3, [4], 0.0, "group")


def test_batch_norm_trains_on_a_single_row():
    mlp = MLP(3, [4], 0.0, "batch").train()
    output, _ = mlp(torch.ones(1, 3))
    assert torch.isfinite(output).all()


def test_logistic_regression_formula():
    network = build_network("lr", INPUTS, {}, seed=3)
    ids, numeric = rows(INPUTS, 5)
    weights = sum(column[:, 0] for column in table_rows(network.embedding, ids))
    linear = numeric @ network.numeric.linear.weight.detach()[0] + network.numeric.bias.detach()
    torch.testing.assert_close(network(ids, numeric).detach(), weights + linear)


def test_deepfm_is_linear_plus_pairs_plus_deep():
    network = build_network("deepfm", INPUTS, SMALL["deepfm"], seed=3)
    ids, numeric = rows(INPUTS, 5)
    with torch.no_grad():
        fields = network.embedding.fields(ids)
        pairs = sum((fields[:, i] * fields[:, j]).sum(1) for i in range(4) for j in range(i + 1, 4))
        deep, _ = network.mlp(torch.cat([network.embedding(ids), numeric], 1))
        first = sum(column[:, 0] for column in table_rows(network.first_order, ids))
        expected = first + network.numeric(numeric) + pairs + network.output(deep)[:, 0]
        torch.testing.assert_close(network(ids, numeric), expected)


@pytest.mark.parametrize(("name", "config"), [*VARIANTS, ("finalmlp", GATED)])
@pytest.mark.parametrize("norm", [{}, {"batch_norm": True}, {"layer_norm": True}])
def test_gradient_reaches_every_parameter(name, config, norm):
    config = {**config, **norm, "dropout": 0.0} if config else {}  # lr and fm have no settings
    network = build_network(name, INPUTS, config, seed=1).train()
    ids, numeric = rows(INPUTS, 64)
    network(ids, numeric).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        if "batch_norm" in norm and parameter_name.endswith("linear.bias"):
            continue  # batch normalisation removes the constant that the bias before it adds
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(("name", "config"), VARIANTS)
@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS,
        Inputs(INPUTS.tables, ()),
        Inputs((), INPUTS.numeric),
        Inputs((Table("a", 3, 2),), ()),
    ],
    ids=["both", "no numeric", "no tables", "one table"],
)
def test_shapes_of_any_input(name, config, inputs, recwarn):
    if name == "fibinet" and len(inputs.tables) == 1:
        with pytest.raises(ValueError, match=r"pairs of columns.*\['a'\]; choose another"):
            build_network(name, inputs, config)
        return
    norm = {"batch_norm": True} if config else {}
    network = build_network(name, inputs, {**config, **norm}, seed=0)
    for n in (0, 1, 5):
        ids, numeric = rows(inputs, n)
        logits, hidden = network.eval().hidden(ids, numeric)
        assert logits.shape == (n,) and logits.dtype == torch.float32
        assert torch.equal(network(ids.long(), numeric), logits)
        layers = {key: h for key, h in hidden.items() if key.startswith("hidden_")}
        assert [h.shape for h in layers.values()] == ([(n, 8), (n, 6)] if config else [])
        assert list(layers) == (["hidden_0", "hidden_1"] if config else [])
        assert all(h.ndim == 2 and h.shape[0] == n for h in hidden.values())
        network.train().zero_grad()
        # A rank that has run out of rows must still take part, with gradients of zero.
        network(ids, numeric).sum().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None for gradient in gradients)
        assert n or not any(gradient.to_dense().any() for gradient in gradients)
    assert not recwarn.list


def test_hidden_layers_in_depth_order():
    ids, numeric = rows(INPUTS, 3)
    layers = {}
    for name in ("dcnv2", "autoint", "fibinet", "finalmlp"):
        _, hidden = build_network(name, INPUTS, SMALL[name]).hidden(ids, numeric)
        layers[name] = {key: h.shape[1] for key, h in hidden.items()}
    # 6 fields of width 4 and their 15 pairs, 15 = 13 + 2 units.
    assert layers == {
        "dcnv2": {"hidden_0": 8, "hidden_1": 6, "cross_0": 15, "cross_1": 15},
        "autoint": {"attention_0": 48, "attention_1": 48, "hidden_0": 8, "hidden_1": 6},
        "fibinet": {"senet": 24, "bilinear": 120, "hidden_0": 8, "hidden_1": 6},
        "finalmlp": {"hidden_0": 8, "hidden_1": 6, "second_0": 4},
    }
    assert [list(names) for names in layers.values()] == [
        ["hidden_0", "hidden_1", "cross_0", "cross_1"],
        ["attention_0", "attention_1", "hidden_0", "hidden_1"],
        ["senet", "bilinear", "hidden_0", "hidden_1"],
        ["hidden_0", "hidden_1", "second_0"],
    ]


@pytest.mark.parametrize("name", [name for name in SMALL if SMALL[name]])
def test_no_hidden_layers(name):
    network = build_network(name, INPUTS, {"hidden_layers": []}, seed=0)
    ids, numeric = rows(INPUTS, 3)
    logits, hidden = network.hidden(ids, numeric)
    assert logits.shape == (3,) and not [h for h in hidden if h.startswith("hidden_")]


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_rows_do_not_depend_on_each_other_in_evaluation_mode(name, config):
    config = {**config, "dropout": 0.5, "batch_norm": True} if config else {}
    network = build_network(name, INPUTS, config, seed=0)
    ids, numeric = rows(INPUTS, 9)
    with torch.no_grad():
        together = network(ids, numeric)
        assert torch.equal(network(ids, numeric), together)
        alone = torch.cat([network(ids[i : i + 1], numeric[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_initialisation_depends_on_the_seed_only(name):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build_network(name, INPUTS, SMALL[name], seed=5).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    two = build_network(name, INPUTS, SMALL[name], seed=5).state_dict()
    other = build_network(name, INPUTS, SMALL[name], seed=6).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_config_is_complete_and_json():
    network = build_network("dcnv2", INPUTS, {"hidden_layers": (8, 4), "dropout": 0})
    assert json.loads(json.dumps(network.config)) == {
        "hidden_layers": [8, 4],
        "cross_layers": 2,
        "cross_rank": 0,
        "cross_experts": 4,
        "dropout": 0.0,
        "batch_norm": False,
        "layer_norm": False,
    }
    assert network.name == "dcnv2" and network.inputs == INPUTS
    # The defaults must not be shared with a network.
    network.config["hidden_layers"].append(1)
    default = build_network("dcnv2", INPUTS)
    default.config["hidden_layers"].append(1)
    assert NETWORKS["dcnv2"].settings["hidden_layers"].default == [256, 128, 64]


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("ffm", {}, "unknown network 'ffm'.*'dcnv2'.*'package.module:Class'"),
        ("ffm:", {}, "unknown network 'ffm:'"),
        ("dnn", {"cross_layers": 2}, "cross_layers.*valid keys: batch_norm, dropout, hidden"),
        ("lr", {"dropout": 0.1}, "dropout.*valid keys: none"),
        ("dnn", {"hidden_layers": 64}, "hidden_layers.*list of positive ints, got 64"),
        ("dnn", {"hidden_layers": [64, 0]}, "hidden_layers"),
        ("dnn", {"dropout": 1.0}, r"dropout.*\[0, 1\)"),
        ("dnn", {"batch_norm": 1}, "batch_norm.*bool"),
        ("dcnv2", {"cross_layers": -1}, "cross_layers.*int >= 0"),
        ("dnn", {"batch_norm": True, "layer_norm": True}, "at most one"),
        ("dcnv2", {"cross_experts": 0}, "cross_experts.*int >= 1"),
        ("fibinet", {"bilinear": "some"}, "bilinear.*'interaction', 'each', 'all', got 'some'"),
        ("autoint", {"attention_dim": 10, "heads": 4}, "heads must divide attention_dim 10"),
        ("finalmlp", {"hidden_layers": [9], "heads": 2}, "last widths of both streams, 9 and 100"),
        ("finalmlp", {"first_context": "site"}, "first_context.*list of column names"),
        (
            "finalmlp",
            {"second_context": ["x", "ad"]},
            r"no categorical column\(s\) \['x'\].*'hour'",
        ),
    ],
)
def test_wrong_settings_name_the_way_out(name, config, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, INPUTS, config)


def test_inputs_round_trip_and_checks():
    described = json.loads(json.dumps(INPUTS.to_dict()))
    assert Inputs.from_dict(described) == INPUTS
    assert INPUTS.width == 15
    with pytest.raises(ValueError, match="at least one"):
        Inputs((), ())
    with pytest.raises(ValueError, match="'a'.*twice"):
        Inputs((Table("a", 2, 2), Table("a", 3, 2)), ())
    with pytest.raises(ValueError, match="'b'.*rows >= 1"):
        Table("b", 0, 4)


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_id_outside_its_table_names_the_column(bad):
    network = build_network("dnn", INPUTS, SMALL["dnn"])
    ids, numeric = rows(INPUTS, 3)
    ids[2, 1] = bad
    with pytest.raises(IndexError, match=rf"id {bad} of column 'ad' lies outside \[0, 5\)"):
        network(ids, numeric)


def test_wrong_number_of_columns_names_them():
    network = build_network("dnn", INPUTS, SMALL["dnn"])
    ids, numeric = rows(INPUTS, 3)
    with pytest.raises(ValueError, match="numeric must have shape.*age.*price"):
        network(ids, numeric[:, :1])
    with pytest.raises(ValueError, match="ids must have shape.*site"):
        network(ids[:, :3], numeric)

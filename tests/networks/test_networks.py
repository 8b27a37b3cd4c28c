"""Embedding tables, and what every network promises."""

import json
from itertools import combinations

import numpy as np
import pytest
import torch
from small_networks import INPUTS, SMALL, VARIANTS

from spark_ctr.networks import NETWORKS, Inputs, Table, build_network
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.factors import Factors
from spark_ctr.networks.layers.mlp import MLP

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


def test_batch_norm_trains_on_a_single_row():
    mlp = MLP(3, [4], 0.0, "batch").train()
    output, _ = mlp(torch.ones(1, 3))
    assert torch.isfinite(output).all()


def test_logistic_regression_formula():
    network = build_network("lr", INPUTS, {}, seed=3)
    ids, numeric = rows(INPUTS, 5)
    weights = sum(table_rows(network.embedding, ids))
    linear = numeric @ network.numeric.linear.weight.detach().T + network.numeric.bias.detach()
    torch.testing.assert_close(network(ids, numeric).detach(), weights + linear)


def test_factorization_machine_takes_numbers_as_fields():
    network = build_network("fm", INPUTS, {}, seed=3)
    ids, numeric = rows(INPUTS, 5)
    with torch.no_grad():
        vectors = [numeric[:, m, None] * network.numeric_fields.weight[m] for m in range(2)]
        fields = [*network.embedding.fields(ids).unbind(1), *vectors]
        pairs = sum((a * b).sum(1, keepdim=True) for a, b in combinations(fields, 2))
        first = sum(table_rows(network.first_order, ids))
        torch.testing.assert_close(network(ids, numeric), first + network.numeric(numeric) + pairs)


def test_networks_are_what_their_blocks_say():
    """AutoInt+, FiBiNET and FinalMLP; their blocks have tests of their own."""
    ids, numeric = rows(INPUTS, 5)
    autoint, fibinet, finalmlp = (
        build_network(name, INPUTS, SMALL[name], seed=3)
        for name in ("autoint", "fibinet", "finalmlp")
    )
    with torch.no_grad():
        x = torch.cat([autoint.embedding(ids), numeric], 1)
        fields = torch.cat([autoint.embedding.fields(ids), autoint.numeric_fields(numeric)], 1)
        attended = autoint.attention[1](autoint.attention[0](fields)).flatten(1)
        expected = autoint.output(torch.cat([attended, autoint.mlp(x)[0]], 1))
        torch.testing.assert_close(autoint(ids, numeric), expected)

        fields = torch.cat([fibinet.embedding.fields(ids), fibinet.numeric_fields(numeric)], 1)
        pairs = [fibinet.bilinear(part) for part in (fields, fibinet.senet(fields))]
        deep = fibinet.output(fibinet.mlp(torch.cat(pairs, 1).flatten(1))[0])
        first = sum(table_rows(fibinet.first_order, ids))
        expected = first + fibinet.numeric(numeric) + deep
        torch.testing.assert_close(fibinet(ids, numeric), expected)

        x = torch.cat([finalmlp.embedding(ids), numeric], 1)
        one = finalmlp.mlp(finalmlp.first_gate(ids, x))[0]
        two = finalmlp.second_mlp(finalmlp.second_gate(ids, x))[0]
        torch.testing.assert_close(finalmlp(ids, numeric), finalmlp.fusion(one, two))


def test_deepfm_is_linear_plus_pairs_plus_deep():
    network = build_network("deepfm", INPUTS, SMALL["deepfm"], seed=3)
    ids, numeric = rows(INPUTS, 5)
    with torch.no_grad():
        fields = network.embedding.fields(ids)
        pairs = sum(
            (fields[:, i] * fields[:, j]).sum(1, keepdim=True)
            for i in range(4)
            for j in range(i + 1, 4)
        )
        deep, _ = network.mlp(torch.cat([network.embedding(ids), numeric], 1))
        first = sum(table_rows(network.first_order, ids))
        expected = first + network.numeric(numeric) + pairs + network.output(deep)
        torch.testing.assert_close(network(ids, numeric), expected)


@pytest.mark.parametrize(("name", "config"), [*VARIANTS, ("finalmlp", GATED)])
@pytest.mark.parametrize("norm", [{}, {"batch_norm": True}, {"layer_norm": True}])
def test_gradient_reaches_every_parameter(name, config, norm):
    if "hidden_layers" in config:
        config = {**config, **norm, "dropout": 0.0}
    network = build_network(name, INPUTS, config, seed=1).train()
    for module in network.modules():
        if isinstance(module, Factors):
            # Factors start at 1, whatever the layer before them.
            torch.nn.init.normal_(module.excite.weight)
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
    norm = {"batch_norm": True} if "hidden_layers" in config else {}
    network = build_network(name, inputs, {**config, **norm}, seed=0)
    for n in (0, 1, 5):
        ids, numeric = rows(inputs, n)
        logits, hidden = network.eval().hidden(ids, numeric)
        assert logits.shape == (n, 1) and logits.dtype == torch.float32
        assert torch.equal(network(ids.long(), numeric), logits)
        layers = {key: h for key, h in hidden.items() if key.startswith("hidden_")}
        assert [h.shape for h in layers.values()] == ([(n, 8), (n, 6)] if norm else [])
        assert list(layers) == (["hidden_0", "hidden_1"] if norm else [])
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
    assert logits.shape == (3, 1) and not [h for h in hidden if h.startswith("hidden_")]


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_rows_do_not_depend_on_each_other_in_evaluation_mode(name, config):
    if "hidden_layers" in config:
        config = {**config, "dropout": 0.5, "batch_norm": True}
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

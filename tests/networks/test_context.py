"""What the context of a row does to its columns and hidden layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from spark_ctr.networks import MULTI_TASK_NETWORKS, NETWORKS, Inputs, Table, build_network
from spark_ctr.networks.layers.context import ENHANCEMENTS, context_settings
from spark_ctr.networks.layers.factors import Factors
from spark_ctr.networks.layers.field_groups import FieldGroups
from tests.networks.small_networks import INPUTS, SMALL, WIDTHS

KINDS = tuple(context_settings()["context_enhancement"].choices)[1:]
# Columns by width, in the order of their first one, as the blocks take them.
SPANS = {"site": (0, 4), "hour": (6, 10), "ad": (4, 6), "user": (10, 13)}
SPANS |= {"age": (13, 14), "price": (14, 15)}


def drawn_weights(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return module.eval()


def layers(factors):
    return (
        factors.squeeze.weight.detach().numpy(),
        factors.squeeze.bias.detach().numpy(),
        factors.excite.weight.detach().numpy(),
        factors.excite.bias.detach().numpy(),
    )


def factors_of(factors, context, bounded):
    """Compute the factors of one row."""
    w1, b1, w2, b2 = layers(factors)
    free = 1 + w2 @ np.maximum(w1 @ context + b1, 0) + b2
    return np.clip(free, 0, 2) if bounded else free


def normed(row, norm):
    """Normalise one row as a LayerNorm with its weights does."""
    scaled = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
    return scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def rows(n=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, INPUTS.width)).astype(np.float32)


def computed(block, x):
    with torch.no_grad():
        return block(torch.from_numpy(x)).numpy()


def test_a_gate_for_each_unit():
    block, x = drawn_weights(ENHANCEMENTS["epnet"](INPUTS, ["hour", "age"], 3)), rows()
    wanted = [row * factors_of(block.factors, row, bounded=True) for row in x]
    np.testing.assert_allclose(computed(block, x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", [[], ["hour", "age"]])
def test_a_factor_for_each_column(context):
    block, x = drawn_weights(ENHANCEMENTS["senet"](INPUTS, context, 3)), rows()
    for row, found in zip(x, computed(block, x), strict=True):
        means = [
            row[a:b].mean() for name, (a, b) in SPANS.items() if not context or name in context
        ]
        factors, wanted = factors_of(block.factors, np.array(means), bounded=True), row.copy()
        for factor, (a, b) in zip(factors, SPANS.values(), strict=True):
            wanted[a:b] *= factor
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", [[], ["ad", "price"]])
def test_mask_block(context):
    block, x = drawn_weights(ENHANCEMENTS["maskblock"](INPUTS, context, 3)), rows()
    chosen = [u for n, (a, b) in SPANS.items() if not context or n in context for u in range(a, b)]
    norms = dict(zip((4, 2, 3, 1), block.norms, strict=True))
    weight, bias = block.linear.weight.detach().numpy(), block.linear.bias.detach().numpy()
    for row, found in zip(x, computed(block, x), strict=True):
        mask = factors_of(block.mask, row[sorted(chosen)], bounded=False)
        fields = row.copy()
        for a, b in SPANS.values():
            if b - a > 1:
                fields[a:b] = normed(row[a:b], norms[b - a])
        wanted = np.maximum(normed(weight @ (fields * mask) + bias, block.norm), 0)
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_contextual_fields():
    block, x = drawn_weights(ENHANCEMENTS["contextnet"](INPUTS, [], 3)), rows()
    layers = dict(zip((4, 2, 3, 1), block.point_wise, strict=True))
    for row, found in zip(x, computed(block, x), strict=True):
        z = row * factors_of(block.mask, row, bounded=False)
        wanted = z.copy()
        for a, b in SPANS.values():
            if b - a > 1:
                layer = layers[b - a]
                inner = np.maximum(
                    layer.inner.weight.detach().numpy() @ z[a:b]
                    + layer.inner.bias.detach().numpy(),
                    0,
                )
                outer = (
                    layer.outer.weight.detach().numpy() @ inner + layer.outer.bias.detach().numpy()
                )
                wanted[a:b] = normed(outer + z[a:b], layer.norm)
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6), st.integers(0, 3))
def test_columns_come_back_from_their_groups(dims, numbers):
    if not dims and not numbers:
        numbers = 1
    tables = tuple(Table(f"c{i}", 3, dim) for i, dim in enumerate(dims))
    inputs = Inputs(tables, tuple(f"n{i}" for i in range(numbers)))
    groups, x = FieldGroups(inputs), torch.randn(3, inputs.width)
    fields = groups.split(x)
    assert [tuple(f.shape[1:]) for f in fields] == list(
        zip(groups.counts, groups.dims, strict=True)
    )
    assert torch.equal(groups.join(fields), x)


@pytest.mark.parametrize("kind", ["senet", "epnet", "ppnet", "pepnet"])
def test_gates_start_at_one(kind):
    """A fresh network with gates computes what it computes without, whatever the row."""
    config = {**WIDTHS, "context_columns": ["hour"], "context_units": 3}
    network = build_network("dnn", INPUTS, {**config, "context_enhancement": kind}, seed=4)
    plain = build_network("dnn", INPUTS, WIDTHS, seed=4)
    plain.load_state_dict(
        {name: value for name, value in network.state_dict().items() if name in plain.state_dict()}
    )
    ids = torch.tensor([[1, 2, 3, 4], [0, 4, 23, 10]])
    numeric = torch.tensor([[0.5, -1.0], [2.0, 0.1]])
    assert torch.allclose(network(ids, numeric), plain(ids, numeric), atol=1e-6)


def gradients_of_tables(kind, context):
    """Return which columns' rows learn by the factors alone, by column."""
    config = {**WIDTHS, "context_columns": context, "context_units": 3, "dropout": 0.0}
    network = build_network("dnn", INPUTS, {**config, "context_enhancement": kind}, seed=4).train()
    drawn_weights(network).train()
    for module in network.modules():
        if isinstance(module, Factors):
            # No unit is below 0, for all rows to learn.
            torch.nn.init.constant_(module.squeeze.bias, 9.0)
    columns = network.embedding(torch.tensor([[1, 2, 3, 4]])).detach().requires_grad_()
    numeric = torch.tensor([[0.5, -1.0]], requires_grad=True)
    kept = network.context(columns, numeric)
    if kind == "ppnet":
        kept[2].sum().backward()
    else:
        x = torch.cat([columns, numeric], 1)
        network.context.columns.factors(
            network.context.columns.context.learning(x)
        ).sum().backward()
    found = torch.cat([columns.grad, numeric.grad], 1)[0]
    return {name for name, (a, b) in SPANS.items() if found[a:b].abs().sum() > 0}


@pytest.mark.parametrize("kind", ["epnet", "ppnet"])
def test_gates_teach_the_tables_of_the_context_alone(kind):
    assert gradients_of_tables(kind, ["hour", "age"]) == {"hour", "age"}


def test_hidden_layers_are_gated():
    config = {**WIDTHS, "context_enhancement": "ppnet", "context_units": 3}
    network = drawn_weights(build_network("dnn", INPUTS, config))
    ids, numeric = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0.5, -1.0]])
    with torch.no_grad():
        _, hidden = network.hidden(ids, numeric)
        x = torch.cat([network.embedding(ids), numeric], 1)
        context = x[0].numpy()
        for name, layer in network.mlp.layers.items():
            gate = factors_of(network.mlp.gates[name], context, bounded=True)
            x = F.relu(layer.linear(x)) * torch.from_numpy(gate)
            torch.testing.assert_close(hidden[name], x.float(), rtol=1e-4, atol=1e-5)


EVERY = SMALL | {name: {**WIDTHS, "tower_layers": [4]} for name in MULTI_TASK_NETWORKS}
OF_BLOCKS = [("shared_bottom", {"block": block}) for block in ("deepfm", "autoint", "fibinet")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "more"), [*((name, {}) for name in EVERY if name != "lr"), *OF_BLOCKS]
)
def test_every_network_learns_by_its_context(name, more, kind):
    """The new parts have a gradient, once they are no longer at their start."""
    known = (NETWORKS | MULTI_TASK_NETWORKS)[name].settings["context_enhancement"].choices
    if kind not in known:
        with pytest.raises(ValueError, match="one of 'none', 'senet'"):
            build_network(name, INPUTS, {"context_enhancement": kind})
        return
    config = {**EVERY[name], **more, "context_columns": ["hour", "age"], "context_units": 3}
    plain = build_network(name, INPUTS, config | {"context_columns": []})
    network = build_network(name, INPUTS, config | {"context_enhancement": kind})
    new = {*dict(network.named_parameters())} - {*dict(plain.named_parameters())}
    # Units that are all below 0 would have no gradient.
    drawn_weights(network).train()
    ids = torch.stack([torch.arange(40) % table.rows for table in INPUTS.tables], 1)
    numeric = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    network(ids, numeric).sum().backward()
    # Normalised, two units tell no more than which of them is larger.
    new = {name for name in new if "point_wise.1" not in name}
    still = [n for n, p in network.named_parameters() if n in new and not p.grad.abs().sum() > 0]
    assert new and not still


def test_logistic_regression_has_nothing_to_enhance():
    with pytest.raises(ValueError, match="context_enhancement"):
        build_network("lr", INPUTS, {"context_enhancement": "epnet"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"context_enhancement": "epnet", "context_columns": ["x"]}, r"\['x'\].*'site', 'ad'"),
        ({"context_columns": ["hour"]}, r"\['hour'\].*'none'.*'epnet'"),
        ({"context_enhancement": "gate"}, "one of 'none', 'senet'"),
    ],
)
def test_wrong_contexts_name_the_way_out(config, message):
    with pytest.raises(ValueError, match=message):
        build_network("dnn", INPUTS, config)

"""Columns of several ids: tables, look-ups and networks against explicit loops."""

import json

import numpy as np
import pytest
import torch
from small_networks import SMALL
from torch.utils._python_dispatch import TorchDispatchMode

from spark_ctr.networks import NETWORKS, PADDING, Inputs, Table, build_network
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes

# Every kind of table, three dimensions, two shared blocks of which one has tables of both signs.
INPUTS = Inputs(
    (
        Table("plain", 7, 4),
        Table("mean", 9, 4, slots=2),
        Table("sum", 5, 2, slots=3, pooling="sum"),
        Table("sign", 6, 3, signed=True),
        Table("signs", 8, 4, slots=2, signed=True),
        Table("list", 6, 4, slots=4, padded=True),
        Table("total", 6, 2, slots=3, pooling="sum", padded=True, signed=True),
        Table("maybe", 4, 3, padded=True),
        Table("one", 10, 4, slots=2, shared="tail"),
        Table("two", 10, 4, slots=2, shared="tail", signed=True),
        Table("three", 10, 4, shared="tail"),
        Table("left", 3, 2, shared="0"),
        Table("right", 3, 2, shared="0"),
    ),
    ("age",),
)


class Operations(TorchDispatchMode):
    """Names of the operations that torch runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.names.append(operation.overloadpacket.__name__)
        return operation(*arguments, **(options or {}))


def rows(inputs, n, seed=0):
    """Draw ids over the whole range of each slot, a quarter of them padding where it may be."""
    draw = np.random.default_rng(seed)
    ids = np.empty((n, inputs.ids_width), np.int32)
    for s, table in enumerate(inputs.slot_tables):
        ids[:, s] = draw.integers(table.lowest, table.rows, n)
        if table.padded:
            ids[draw.random(n) < 0.25, s] = PADDING
    numeric = draw.normal(size=(n, len(inputs.numeric)))
    return torch.from_numpy(ids), torch.tensor(numeric, dtype=torch.float32)


def blocks(tables):
    """Rows of every column's table, cut out of the weights by hand."""
    found = {}
    for weight, columns in zip(tables.weights, tables.groups, strict=True):
        start, shared = 0, {}
        for c in columns:
            table = tables.inputs.tables[c]
            if table.shared not in shared:
                found[c] = weight.weight[start : start + table.rows]
                start += table.rows
                if table.shared:
                    shared[table.shared] = found[c]
            else:
                found[c] = shared[table.shared]
        assert start == len(weight.weight)
    return found


def embedded(tables, ids):
    """Embed row by row, column by column, slot by slot."""
    cut, result = blocks(tables), []
    for row in ids.tolist():
        slot, columns = 0, []
        for c, table in enumerate(tables.inputs.tables):
            total, count = torch.zeros(table.dim), 0
            for i in row[slot : slot + table.slots]:
                if i == PADDING:
                    continue
                total = total - cut[c][~i] if i < 0 else total + cut[c][i]
                count += 1
            slot += table.slots
            columns.append(total / max(count, 1) if table.pooling == "mean" else total)
        result.append(torch.cat(columns))
    return torch.stack(result)


@pytest.mark.parametrize("only", [None, *[table.name for table in INPUTS.tables]])
def test_embeddings_against_a_loop(only):
    tables = tuple(table for table in INPUTS.tables if only in (None, table.name))
    tables = EmbeddingTables(Inputs(tables, ()))
    ids, _ = rows(tables.inputs, 40)
    torch.testing.assert_close(tables(ids), embedded(tables, ids))
    assert tables(ids).shape == (40, tables.width)
    assert len({tuple(row) for row in tables(ids).tolist()}) > 1


def test_gradients_against_a_loop():
    """A shared row collects the gradients of all columns and slots that name it."""
    tables = EmbeddingTables(INPUTS)
    ids, _ = rows(INPUTS, 30)
    target = torch.randn(30, tables.width, generator=torch.Generator().manual_seed(1))
    gradients = []
    for embed in (tables, lambda ids: embedded(tables, ids)):
        (embed(ids) * target).sum().backward()
        gradients.append([w.weight.grad.to_dense().clone() for w in tables.weights])
        tables.zero_grad()
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected)


def test_a_repeated_id_is_that_row_and_nothing_but_padding_is_zero():
    inputs = Inputs(
        (Table("twice", 5, 3, slots=2), Table("list", 4, 3, slots=3, padded=True)), ("age",)
    )
    tables = EmbeddingTables(inputs)
    with torch.no_grad():
        found = tables(torch.tensor([[4, 4, PADDING, PADDING, PADDING], [1, 1, PADDING, 2, 2]]))
    weight = tables.weights[0].weight.detach()
    assert torch.equal(found[0], torch.cat([weight[4], torch.zeros(3)]))
    assert torch.equal(found[1], torch.cat([weight[1], weight[5 + 2]]))


def test_columns_of_one_id_are_looked_up_without_more_operations():
    plain = EmbeddingTables(Inputs(tuple(Table(f"c{i}", 9, 4) for i in range(3)), ()))
    with Operations() as operations, torch.no_grad():
        plain(torch.zeros(2, 3, dtype=torch.int64))
    assert operations.names == ["zeros", "add", "embedding", "view"]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_read_slots(name):
    gated = {
        "first_context": ["two", "sum", "plain"],
        "second_context": ["list", "three"],
        "gate_layers": [16],
    }
    config = {**SMALL[name], **(gated if name == "finalmlp" else {})}
    network = build_network(name, INPUTS, config, seed=0).train()
    ids, numeric = rows(INPUTS, 50)
    logits = network(ids, numeric)
    assert logits.shape == (50, 1) and logits.std() > 0
    logits.square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, parameter_name
    network.eval()
    again = network_from_bytes(network_to_bytes(network))
    assert again.inputs == INPUTS
    with torch.no_grad():
        assert torch.equal(again(ids, numeric), network(ids, numeric))
        assert network(ids[:0], numeric[:0]).shape == (0, 1)


def test_logistic_regression_sums_the_pooled_weights():
    network = build_network("lr", INPUTS, {}, seed=3)
    ids, numeric = rows(INPUTS, 20)
    linear = network.numeric(numeric)
    expected = embedded(network.embedding, ids).sum(1, keepdim=True) + linear
    torch.testing.assert_close(network(ids, numeric), expected)


def test_fields_of_deepfm_are_the_pooled_embeddings():
    network = build_network("deepfm", INPUTS, SMALL["deepfm"], seed=3)
    ids, _ = rows(INPUTS, 20)
    fields, columns = network.embedding.fields(ids), embedded(network.embedding, ids)
    assert fields.shape == (20, len(INPUTS.tables), 4)
    assert torch.equal(fields[:, 0], columns[:, :4])
    matrix = network.embedding.projections["2"].weight
    torch.testing.assert_close(fields[:, 2], columns[:, 8:10] @ matrix.T)


@pytest.mark.parametrize(
    ("slot", "bad", "message"),
    [
        (1, -1, r"id -1 of column 'mean' lies outside \[0, 9\)"),
        (2, 9, r"id 9 of column 'mean' lies outside \[0, 9\)"),
        (6, -7, r"id -7 of column 'sign' lies outside \[-6, 6\)"),
        (6, PADDING, "of column 'sign' lies outside"),
        (9, 6, "id 6 of column 'list' lies outside"),
        (9, -1, "id -1 of column 'list' lies outside"),
        (21, 10, "id 10 of column 'three' lies outside"),
    ],
)
def test_an_id_outside_its_slot_names_the_column(slot, bad, message):
    network = build_network("dnn", INPUTS, SMALL["dnn"])
    ids, numeric = rows(INPUTS, 3)
    ids[2, slot] = bad
    with pytest.raises(IndexError, match=message):
        network(ids, numeric)


def test_inputs_describe_what_is_not_the_default():
    described = json.loads(json.dumps(INPUTS.to_dict()))
    assert Inputs.from_dict(described) == INPUTS
    assert described["tables"][0] == {"name": "plain", "rows": 7, "dim": 4}
    assert described["tables"][9] == {
        "name": "two",
        "rows": 10,
        "dim": 4,
        "slots": 2,
        "signed": True,
        "shared": "tail",
    }
    more = Table.from_dict({"name": "a", "rows": 3, "dim": 2, "slots": 2, "private": 1})
    assert more == Table("a", 3, 2, slots=2)
    assert INPUTS.ids_width == 1 + 2 + 3 + 1 + 2 + 4 + 3 + 1 + 2 + 2 + 1 + 1 + 1
    assert [t.name for t in INPUTS.slot_tables][:4] == ["plain", "mean", "mean", "sum"]
    assert Table("a", 3, 2).ids_layout == Table("a", 3, 8).ids_layout
    assert Table("a", 3, 2).ids_layout != Table("a", 3, 2, signed=True).ids_layout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Table("a", 3, 2, slots=0), "'a' needs rows >= 1, dim >= 1 and slots >= 1"),
        (lambda: Table("a", 3, 2, pooling="max"), "'a' has pooling 'max'; choose one of mean, sum"),
        (
            lambda: Inputs((Table("a", 3, 2, shared="s"), Table("b", 4, 2, shared="s")), ()),
            "'a' and 'b' share the rows 's' and must agree in rows and dim, got 3 x 2 and 4 x 2",
        ),
        (
            lambda: Inputs((Table("a", 3, 2, shared="s"), Table("b", 3, 4, shared="s")), ()),
            "'a' and 'b' share the rows 's'",
        ),
    ],
)
def test_wrong_tables_name_the_column(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()

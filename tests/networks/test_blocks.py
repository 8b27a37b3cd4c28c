"""Blocks of networks against explicit formulas, written as loops in NumPy."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.networks import Inputs, Table
from spark_ctr.networks.layers.attention import FieldAttention
from spark_ctr.networks.layers.bilinear import BilinearInteraction
from spark_ctr.networks.layers.cross import CrossNetwork
from spark_ctr.networks.layers.field_pairs import factorization_machine
from spark_ctr.networks.layers.fusion import BilinearFusion
from spark_ctr.networks.layers.gate import FeatureGate
from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.networks.layers.numeric_fields import NumericFields
from spark_ctr.networks.layers.senet import FieldReweighting

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def with_random_weights(module):
    """Give every parameter, zeros too, a value that matters; evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def weights(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def run(module, *arrays):
    with torch.no_grad():
        return module(*map(torch.tensor, arrays))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_factorization_machine_is_the_sum_over_pairs(n, columns, k, seed):
    fields = np.random.default_rng(seed).normal(size=(n, columns, k))
    expected = np.zeros(n)
    for b in range(n):
        for i, j in combinations(range(columns), 2):
            expected[b] += fields[b, i] @ fields[b, j]
    got = factorization_machine(torch.tensor(fields)).numpy()
    np.testing.assert_allclose(got, expected[:, None], atol=1e-10)


def test_cross_network():
    cross, x0 = with_random_weights(CrossNetwork(5, 3)), drawn(4, 5)
    got, crosses = run(cross, x0)
    x = x0
    for i, layer in enumerate(cross.layers):
        weight, bias = weights(layer).values()
        x = x0 * (x @ weight.T + bias) + x
        np.testing.assert_allclose(crosses[f"cross_{i}"], x, **CLOSE)
    np.testing.assert_allclose(got, x, **CLOSE)


def test_low_rank_cross_network():
    rank, experts = 2, 3
    cross, x0 = with_random_weights(CrossNetwork(5, 2, rank, experts)), drawn(4, 5)
    got, crosses = run(cross, x0)
    x = x0
    for i, layer in enumerate(cross.layers):
        part, mixed = weights(layer), np.zeros_like(x0)
        for b in range(4):
            gates = softmax(part["gate.weight"] @ x[b])
            for e in range(experts):
                rows = slice(e * rank, (e + 1) * rank)
                low = np.tanh(part["core"][e] @ np.tanh(part["down.weight"][rows] @ x[b]))
                expert = x0[b] * (part["up.weight"][:, rows] @ low + part["up.bias"])
                mixed[b] += gates[e] * expert
        x = mixed + x
        np.testing.assert_allclose(crosses[f"cross_{i}"], x, **CLOSE)
    np.testing.assert_allclose(got, x, **CLOSE)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_mlp(norm):
    mlp, x = MLP(3, [4, 2], dropout=0.5, norm=norm, prefix="deep").eval(), drawn(6, 3)
    output, hidden = run(mlp, x)
    assert list(hidden) == ["deep_0", "deep_1"]
    for name, layer in mlp.layers.items():
        x = x @ layer.linear.weight.detach().numpy().T + layer.linear.bias.detach().numpy()
        if norm == "batch":  # fresh running statistics are mean 0, variance 1
            x = x / np.sqrt(1 + 1e-5)
        if norm == "layer":
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = np.maximum(x, 0)
        np.testing.assert_allclose(hidden[name], x, **CLOSE)
    np.testing.assert_allclose(output, x, **CLOSE)


def test_mlp_refuses_unknown_norm():
    with pytest.raises(ValueError, match="'batch', 'layer' or None"):
        MLP(3, [4], 0.0, "group")


def test_numeric_fields():
    module, x = with_random_weights(NumericFields(2, 3)), drawn(4, 2)
    vectors = module.weight.detach().numpy()
    expected = [[x[b, m] * vectors[m] for m in range(2)] for b in range(4)]
    np.testing.assert_allclose(run(module, x), expected, **CLOSE)


@pytest.mark.parametrize(("n_in", "norm"), [(3, False), (4, False), (3, True)])
def test_field_attention(n_in, norm):
    heads, width = 2, 2
    module = with_random_weights(FieldAttention(n_in, 4, heads, dropout=0.5, layer_norm=norm))
    fields, part = drawn(2, 5, n_in), weights(module)
    expected = np.empty((2, 5, 4), np.float32)
    for b in range(2):
        for m in range(5):
            out = np.empty(4)
            for h in range(heads):
                rows = slice(h * width, (h + 1) * width)
                query, key, value = (
                    part[f"{name}.weight"][rows] for name in ("query", "key", "value")
                )
                scores = [
                    (query @ fields[b, m]) @ (key @ fields[b, j]) / np.sqrt(width) for j in range(5)
                ]
                shares = softmax(np.array(scores))
                out[rows] = sum(shares[j] * (value @ fields[b, j]) for j in range(5))
            same = n_in == 4
            out = out + (fields[b, m] if same else part["residual.weight"] @ fields[b, m])
            if norm:
                out = (out - out.mean()) / np.sqrt(out.var() + 1e-5)
                out = out * part["norm.weight"] + part["norm.bias"]
            expected[b, m] = np.maximum(out, 0)
    np.testing.assert_allclose(run(module, fields), expected, **CLOSE)


def test_attention_weights_are_dropped_in_training_only():
    module = FieldAttention(4, 4, 1, dropout=0.9, layer_norm=False)
    fields = torch.tensor(drawn(3, 6, 4))
    assert not torch.equal(module.train()(fields), module(fields))
    assert torch.equal(module.eval()(fields), module(fields))


@pytest.mark.parametrize(("reduction", "reduced"), [(1, 5), (2, 2), (9, 1)])
def test_field_reweighting(reduction, reduced):
    module, fields = with_random_weights(FieldReweighting(5, reduction)), drawn(3, 5, 4)
    first, second = weights(module).values()
    assert first.shape == (reduced, 5)
    expected = np.empty_like(fields)
    for b in range(3):
        means = np.array([field.mean() for field in fields[b]])
        factors = np.maximum(second @ np.maximum(first @ means, 0), 0)
        expected[b] = [factor * field for factor, field in zip(factors, fields[b], strict=True)]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(run(module, fields), expected, **CLOSE)


@pytest.mark.parametrize(("kind", "matrices"), [("interaction", 6), ("each", 3), ("all", 1)])
def test_bilinear_interaction(kind, matrices):
    module, fields = with_random_weights(BilinearInteraction(4, 3, kind)), drawn(2, 4, 3)
    weight = module.weight.detach().numpy()
    assert weight.shape == (matrices, 3, 3)
    expected = []
    for row in fields:
        which = {"interaction": list(range(6)), "each": [0, 0, 0, 1, 1, 2], "all": [0] * 6}[kind]
        pairs = zip(which, combinations(range(4), 2), strict=True)
        expected.append([(row[i] @ weight[w]) * row[j] for w, (i, j) in pairs])
    assert module.pairs == 6
    np.testing.assert_allclose(run(module, fields), expected, **CLOSE)
    with pytest.raises(ValueError, match="'interaction', 'each', 'all'"):
        BilinearInteraction(4, 3, "none")


@pytest.mark.parametrize("heads", [1, 2])
def test_bilinear_fusion(heads):
    module, x, y = with_random_weights(BilinearFusion(6, 4, heads)), drawn(3, 6), drawn(3, 4)
    part, expected = weights(module), np.empty(3)
    for b in range(3):
        expected[b] = part["x.weight"][0] @ x[b] + part["x.bias"][0] + part["y.weight"][0] @ y[b]
        for matrix, left, right in zip(
            part["weight"], np.split(x[b], heads), np.split(y[b], heads), strict=True
        ):
            expected[b] += left @ matrix @ right
    np.testing.assert_allclose(run(module, x, y), expected[:, None], **CLOSE)


def test_feature_gate():
    tables = (Table("a", 5, 2), Table("b", 4, 3, slots=2, pooling="sum"), Table("c", 3, 2))
    inputs = Inputs(tables, ("x",))
    ids, x = np.array([[1, 3, 2, 0], [4, 0, 1, 2]]), drawn(2, 8)
    constant = with_random_weights(FeatureGate(inputs, [], [9]))
    (factors,) = weights(constant).values()
    np.testing.assert_allclose(run(constant, ids, x), x * 2 * sigmoid(factors), **CLOSE)
    gate = with_random_weights(FeatureGate(inputs, ["c", "b"], [5]))
    part, expected = weights(gate), np.empty_like(x)
    for b, row in enumerate(ids):
        narrow, wide = part["embedding.weights.0.weight"], part["embedding.weights.1.weight"]
        context = np.concatenate([narrow[row[3]], wide[row[1]] + wide[row[2]]])
        layer = "mlp.layers.hidden_0.linear"
        hidden = np.maximum(part[f"{layer}.weight"] @ context + part[f"{layer}.bias"], 0)
        output = part["output.weight"] @ hidden + part["output.bias"]
        expected[b] = x[b] * 2 * sigmoid(output)
    np.testing.assert_allclose(run(gate, ids, x), expected, **CLOSE)

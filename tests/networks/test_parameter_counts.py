"""Numbers of parameters against those that BARS publishes for Frappe_x1.

Source: the training logs in github.com/reczoo/BARS, ranking/ctr/<model>/<model>_frappe_x1/README.md
(commit 1ffaf73), "Total number of parameters".
"""

import pytest

from spark_ctr.networks import Inputs, Table, build_network

# Rows of each table in those logs of FuxiCTR 1: 5389 with one for unknown values. FuxiCTR 2 has
# another one for padding.
ROWS = {
    "user": 955,
    "item": 4083,
    "daytime": 8,
    "weekday": 8,
    "isweekend": 3,
    "homework": 4,
    "cost": 3,
    "weather": 10,
    "country": 81,
    "city": 234,
}
MLP = {"hidden_layers": [400, 400, 400], "batch_norm": True}


def parameters(name, config, padding=0):
    tables = tuple(Table(column, rows + padding, 10) for column, rows in ROWS.items())
    network = build_network(name, Inputs(tables, ()), config)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "config", "published"),
    [
        ("lr", {}, 5_390),
        ("fm", {}, 59_280),
        # The log counts the perceptron of 364,001 twice: 781,892.
        ("dnn", MLP, 781_892 - 364_001),
        ("deepfm", MLP, 423_280),
        ("dcnv2", {**MLP, "cross_layers": 4}, 458_391),
        # One bias of the output where FuxiCTR adds up two.
        (
            "autoint",
            {**MLP, "attention_layers": 5, "attention_dim": 128, "heads": 4},
            622_180 - 1,
        ),
        ("fibinet", {**MLP, "bilinear": "all", "reduction": 2}, 743_480),
    ],
)
def test_published_count(name, config, published):
    assert parameters(name, config) == published


def test_published_count_of_finalmlp():
    config = {
        "hidden_layers": [400],
        "second_layers": [100],
        "gate_layers": [400],
        "batch_norm": True,
        "heads": 5,
        "first_context": ["user"],
        "second_context": ["item"],
    }
    # One bias of the fusion where FuxiCTR adds up two.
    assert parameters("finalmlp", config, padding=1) == 253_392 - 1


def test_counts_derived_by_hand():
    """Without a published run: the papers' formulas, d = 100 units, K = 4 experts of rank r."""
    d, k, r, layers = 100, 4, 8, 2
    expert = 2 * d * r + r * r  # U, V and C
    crosses = layers * (k * expert + d + k * d)  # b and the gates
    deep = 101 * 400 + 2 * 401 * 400 + 3 * 800  # with batch normalisation
    low_rank = {**MLP, "cross_layers": layers, "cross_rank": r, "cross_experts": k}
    assert parameters("dcnv2", low_rank) == 53_890 + crosses + deep + (d + 400 + 1)
    # Without context a gate is a vector: two of d units instead of 89,000 + 50,400 parameters.
    config = {"hidden_layers": [400], "batch_norm": True, "heads": 5}
    ungated = 253_391 - 89_000 - 50_400 + 2 * d
    assert parameters("finalmlp", config, padding=1) == ungated
    # "each" has a matrix for all fields but the last, "interaction" one for each pair.
    for bilinear, matrices in (("each", 9), ("interaction", 45)):
        config = {**MLP, "bilinear": bilinear, "reduction": 2}
        assert parameters("fibinet", config) == 743_480 + 100 * (matrices - 1)

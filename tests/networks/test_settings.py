"""Settings of networks: defaults, checks and the errors that name the way out."""

import json

import pytest
from small_networks import INPUTS

from spark_ctr.networks import NETWORKS, build_network


def test_config_is_complete_and_json():
    network = build_network("dcnv2", INPUTS, {"hidden_layers": (8, 4), "dropout": 0})
    assert json.loads(json.dumps(network.config)) == {
        "hidden_layers": [8, 4],
        "cross_layers": 3,
        "cross_rank": 0,
        "cross_experts": 4,
        "dropout": 0.0,
        "batch_norm": True,
        "layer_norm": False,
        "context_enhancement": "none",
        "context_columns": [],
        "context_units": 32,
    }
    assert network.name == "dcnv2" and network.inputs == INPUTS
    # The defaults must not be shared with a network.
    network.config["hidden_layers"].append(1)
    default = build_network("dcnv2", INPUTS)
    default.config["hidden_layers"].append(1)
    assert NETWORKS["dcnv2"].settings["hidden_layers"].default == [400, 400]


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("ffm", {}, "unknown network 'ffm'.*'dcnv2'.*'package.module:Class'"),
        ("ffm:", {}, "unknown network 'ffm:'"),
        ("dnn", {"cross_layers": 2}, "cross_layers.*valid keys: batch_norm, .*dropout, hidden"),
        ("lr", {"dropout": 0.1}, "dropout.*valid keys: none"),
        ("dnn", {"hidden_layers": 64}, "hidden_layers.*list of positive ints: 64"),
        ("dnn", {"hidden_layers": [64, 0]}, "hidden_layers"),
        ("dnn", {"dropout": 1.0}, "dropout.* below 1.0: 1.0"),
        ("dnn", {"batch_norm": 1}, "batch_norm.*bool"),
        ("dcnv2", {"cross_layers": -1}, "cross_layers.*at least 0: -1"),
        ("dnn", {"batch_norm": True, "layer_norm": True}, "at most one"),
        ("dcnv2", {"cross_experts": 0}, "cross_experts.*at least 1: 0"),
        ("fibinet", {"bilinear": "some"}, "bilinear.*'interaction', 'each', 'all': 'some'"),
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
    with pytest.raises((TypeError, ValueError), match=message):
        build_network(name, INPUTS, config)

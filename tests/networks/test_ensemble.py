"""An ensemble is its members side by side."""

import pytest
import torch
from small_networks import INPUTS

from spark_ctr.networks import build_network
from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.networks.serialization import network_to_bytes, trusted_network_from_bytes

CONFIG = {"hidden_layers": [6, 5], "dropout": 0.0, "batch_norm": False}


def rows(n=8):
    draw = torch.Generator().manual_seed(3)
    ids = [torch.randint(0, table.rows, (n,), generator=draw) for table in INPUTS.tables]
    numeric = torch.randn(n, len(INPUTS.numeric), generator=draw)
    return torch.stack(ids, 1).to(torch.int32), numeric


@torch.no_grad()
def test_logits_are_the_mean_and_layers_lie_side_by_side():
    network = build_network("dcnv2", INPUTS, CONFIG | {"members": 3}, seed=5)
    alone = build_network("dcnv2", INPUTS, CONFIG, seed=5)
    assert isinstance(network, Ensemble) and network.config["members"] == 3
    logits, hidden = network.hidden(*rows())
    each = [member.hidden(*rows()) for member in network.members]
    assert torch.equal(each[0][0], alone(*rows()))
    assert not torch.equal(each[0][0], each[1][0])
    torch.testing.assert_close(logits, (each[0][0] + each[1][0] + each[2][0]) / 3)
    assert torch.equal(network.member_logits(*rows()), torch.stack([found for found, _ in each]))
    assert hidden["hidden_1"].shape == (8, 15)
    assert torch.equal(hidden["hidden_1"][:, 5:10], each[1][1]["hidden_1"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["lr", "finalmlp", "tests.networks.own_networks:Plain"])
def test_bytes_bring_it_back(name):
    network = build_network(name, INPUTS, {"members": 2}, seed=1)
    data = network_to_bytes(network)
    again = trusted_network_from_bytes(data)
    assert torch.equal(again(*rows()), network(*rows()))
    assert network_to_bytes(again) == data


@pytest.mark.parametrize("members", [0, 1.5, "2"])
def test_a_wrong_number_of_members(members):
    with pytest.raises((TypeError, ValueError), match=f"'members' must be .*: {members!r}"):
        build_network("dnn", INPUTS, {"members": members})

"""Every network of the registry has a bias that moves all of its logits."""

import pytest
import torch
from torch import nn

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.imported import ModuleNetwork
from spark_ctr.networks.output_bias import add_to_logits
from spark_ctr.networks.registry import NETWORKS

INPUTS = Inputs((Table("site", 5, 4), Table("ad", 7, 2)), ("age",))


@torch.no_grad()
@pytest.mark.parametrize("config", [{}, {"members": 2}], ids=["one", "ensemble"])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_logits_move_by_the_amount(name, config):
    network = build_network(name, INPUTS, config, seed=1)
    ids = torch.tensor([[1, 2], [4, 6], [0, 0]])
    numeric = torch.randn(3, 1)
    before = network(ids, numeric)
    assert add_to_logits(network, -2.5)
    torch.testing.assert_close(network(ids, numeric), before - 2.5)


def test_a_module_of_ones_own_is_left_as_it_is():
    class Own(nn.Module):
        def __init__(self, inputs, config):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, ids, numeric):
            return self.bias.expand(len(ids))

    network = ModuleNetwork(INPUTS, {}, Own)
    assert not add_to_logits(network, 1.0)
    assert network.module.bias.item() == 0.0

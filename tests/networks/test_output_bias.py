"""Where networks start before training."""

import math

import pytest
import torch
from small_networks import INPUTS, SMALL
from torch import nn

from spark_ctr.networks import build_network
from spark_ctr.networks.imported import ModuleNetwork
from spark_ctr.networks.output_bias import absorb_slope, has_logit_bias, map_logits, start_at
from spark_ctr.networks.registry import NETWORKS

RATE = 0.02
LOG_ODDS = math.log(RATE / (1 - RATE))


def rows(n):
    generator = torch.Generator().manual_seed(0)
    sizes = [table.rows for table in INPUTS.tables]
    ids = torch.stack([torch.randint(size, (n,), generator=generator) for size in sizes], 1)
    return ids, torch.randn(n, len(INPUTS.numeric), generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_starts_no_worse_than_the_constant(name, batch_norm, members):
    widths = {"hidden_layers": [64, 32]} if "hidden_layers" in SMALL[name] else {}
    config = {**SMALL[name], **widths, "members": members}
    if widths:
        config |= {"batch_norm": batch_norm, "dropout": 0.0}
    network = build_network(name, INPUTS, config, seed=1)
    assert has_logit_bias(network)
    start_at(network, LOG_ODDS)
    # As in training, where batch normalisation makes the hidden layers as large as they get.
    logits = network.train()(*rows(500))
    constant = -RATE * math.log(RATE) - (1 - RATE) * math.log(1 - RATE)
    loss = (torch.nn.functional.softplus(logits) - RATE * logits).mean()
    assert loss.item() < 1.2 * constant


class Own(nn.Module):
    """A module whose logits start far from 0."""

    def __init__(self, inputs, config):
        super().__init__()
        self.anything = nn.Parameter(torch.tensor(3.0))

    def forward(self, ids, numeric):
        return self.anything + 0.01 * numeric[:, 0]


@torch.no_grad()
def test_a_module_of_ones_own_is_moved_by_an_offset_that_is_saved_with_it():
    network = ModuleNetwork(INPUTS, {}, Own).eval()
    ids, numeric = rows(100)
    assert not has_logit_bias(network)
    start_at(network, LOG_ODDS, (ids, numeric))
    assert network.module.anything.item() == 3.0
    assert network(ids, numeric).mean().item() == pytest.approx(LOG_ODDS, abs=1e-5)
    copied = ModuleNetwork(INPUTS, {}, Own).eval()
    copied.load_state_dict(network.state_dict())
    assert torch.equal(copied(ids, numeric), network(ids, numeric))


@torch.no_grad()
def test_states_from_before_there_was_a_calibration_compute_as_they_did():
    network = build_network("dnn", INPUTS, {**SMALL["dnn"], "members": 2}, seed=1)
    before = network(*rows(10))
    old = {k: v for k, v in network.state_dict().items() if not k.endswith("logit_calibration")}
    network.logit_calibration.copy_(torch.tensor([[2.0, 5.0]]))
    assert not torch.equal(network(*rows(10)), before)
    network.load_state_dict(old)
    assert torch.equal(network(*rows(10)), before)


@pytest.mark.parametrize("line", [[0.0, 0.0], [-1.0, 0.0], [math.nan, 0.0], [1.0, math.inf]])
def test_a_slope_or_offset_that_makes_no_sense_is_not_loaded(line):
    network = build_network("dnn", INPUTS, {**SMALL["dnn"], "members": 2}, seed=1)
    state = network.state_dict() | {"members.1.logit_calibration": torch.tensor(line)}
    with pytest.raises(ValueError, match="slope"):
        network.load_state_dict(state)


@torch.no_grad()
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_slope_moves_into_the_weights_and_logits_stay_bit_for_bit(name, members):
    network = build_network(name, INPUTS, {**SMALL[name], "members": members}, seed=1)
    start_at(network, LOG_ODDS)
    plain = network(*rows(50))
    for slope, offset in ((0.3, 1.0), (0.5, -0.25)):
        map_logits(network, slope, offset)
    before = network(*rows(50))
    torch.testing.assert_close(before, 0.15 * plain + 0.25)
    absorb_slope(network)
    assert torch.equal(network(*rows(50)), before)
    one = network.members[0] if members > 1 else network
    slope = one.logit_calibration[0, 0].item()
    assert 0.7 < slope < 1.42 if name not in ("fm", "deepfm") else slope == pytest.approx(0.15)

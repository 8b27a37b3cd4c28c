"""Every member of an ensemble learns what it would learn alone."""

import pytest
import torch
from memory_log import DCNV2, INPUTS, PLAIN, MemoryFeed, click_rows

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, train

CONFIG = {**DCNV2, "hidden_layers": [8], "dropout": 0.0}


def test_members_learn_what_they_would_alone():
    settings = TrainingSettings(
        **PLAIN | {"embedding_l2": 0.05},
        max_epochs=2,
        weight_decay=0.01,
        device="cpu",
        precision="float32",
    )
    feed = MemoryFeed(click_rows(200), 32, seed=1)
    network = build_network("dcnv2", INPUTS, CONFIG | {"members": 2}, seed=3)
    states = [
        {name: value.clone() for name, value in member.state_dict().items()}
        for member in network.members
    ]
    together = train(network, feed, None, settings)
    losses = []
    for member, state in zip(network.members, states, strict=True):
        alone = build_network("dcnv2", INPUTS, CONFIG)
        alone.load_state_dict(state)
        losses.append(train(alone, feed, None, settings).epochs[-1]["train_loss"])
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert together.epochs[-1]["train_loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)

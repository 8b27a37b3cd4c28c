"""Networks of several tasks: shapes, bases, products, files, and packed programs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import INPUTS

from spark_ctr.networks import MULTI_TASK_NETWORKS, build_network
from spark_ctr.networks.esmm import log_odds_of_product
from spark_ctr.networks.flat import flat
from spark_ctr.networks.layers.blocks import BLOCKS
from spark_ctr.networks.layers.embedding import embedding_modules
from spark_ctr.networks.output_bias import has_logit_bias, map_logits, start_at
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.precision.packing import check_packable, pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers

SMALL = {"hidden_layers": [6, 4], "tower_layers": [3], "dropout": 0.0, "attention_dim": 4}
EACH = pytest.mark.parametrize("name", MULTI_TASK_NETWORKS)


def rows(n, seed=0):
    draw = np.random.default_rng(seed)
    ids = np.stack([draw.integers(0, t.rows, n) for t in INPUTS.tables], 1)
    numeric = draw.normal(size=(n, len(INPUTS.numeric)))
    return torch.tensor(ids, dtype=torch.int32), torch.tensor(numeric, dtype=torch.float32)


def build(name, seed=1, **more):
    return build_network(name, INPUTS, {**SMALL, **more}, seed)


@EACH
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_makes_a_logit_for_each_task_and_learns(name, block):
    network = build(name, block=block).train()
    logits, hidden = network.hidden(*rows(9))
    assert logits.shape == (9, len(network.tasks))
    assert all(layer.shape[0] == 9 for layer in hidden.values()) and "hidden_1" in hidden
    logits.square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None]
    assert not unused


@EACH
def test_starts_at_the_base_rate_of_each_task(name):
    network = build(name)
    assert has_logit_bias(network)
    for table in embedding_modules(network):
        torch.nn.init.zeros_(table.weight)
    ids, numeric = rows(50)
    before = network(ids, numeric)
    start_at(network, [-3.0, -2.0, 9.0][: len(network.tasks)])
    moved = (network(ids, numeric) - before).detach()
    torch.testing.assert_close(moved[:, 0], torch.full((50,), -3.0))
    torch.testing.assert_close(moved[:, 1], torch.full((50,), -2.0))


@EACH
def test_bytes_and_the_flat_function_give_the_same_logits(name):
    network = build(name, tasks=["a", "b", "c"])
    ids, numeric = rows(30)
    wanted = network(ids, numeric)
    loaded = network_from_bytes(network_to_bytes(network))
    assert loaded.tasks == ("a", "b", "c")
    assert torch.equal(loaded(ids, numeric), wanted)
    torch.testing.assert_close(flat(network)(ids, numeric), wanted)


def test_a_trunk_holds_no_table():
    for name in MULTI_TASK_NETWORKS:
        network = build(name)
        tables = {id(table.weight) for table in embedding_modules(network)}
        assert tables.isdisjoint(id(p) for p in network.trunk_parameters())


@given(st.floats(-80, 80), st.floats(-80, 80))
def test_log_odds_of_a_product_are_exact_where_probabilities_round(a, b):
    found = float(log_odds_of_product(torch.tensor([[a, b]]))[0, 0])
    # In exact terms log p - log(1 - p); of large logits, the smaller one decides.
    ea, eb = math.exp(-a), math.exp(-b)
    assert found == pytest.approx(-math.log(ea + eb + ea * eb), rel=1e-5, abs=1e-5)


def test_gradients_of_a_product_are_finite_at_large_logits():
    logits = torch.tensor([[60.0, 60.0], [-60.0, 60.0], [-90.0, -90.0]], requires_grad=True)
    log_odds_of_product(logits).sum().backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad >= 0).all()


def test_esmm_stays_a_product_when_its_tasks_are_mapped():
    network = build("esmm")
    map_logits(network, 0.5, -1.0, 0)
    map_logits(network, 2.0, 0.3, 1)
    p = torch.sigmoid(network(*rows(40)).double())
    torch.testing.assert_close(p[:, 2], p[:, 0] * p[:, 1], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="three tasks"):
        build("esmm", tasks=["click", "conversion"])


@EACH
def test_packs_to_a_program_or_says_why_not(name):
    network = build(name)
    if name == "esmm":
        with pytest.raises(ValueError, match=r"'esmm' cannot be quantised.*logsumexp"):
            check_packable(network)
        return
    ids, numeric = rows(64)
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    prepared = prepare(network, plan, (ids, numeric))
    packed = pack_network(prepared.eval())
    assert packed.tasks == network.tasks
    found = packed.predict_logits(ids.numpy(), numeric.numpy())
    np.testing.assert_allclose(found, prepared(ids, numeric).detach().numpy(), atol=1e-4)


def test_tasks_must_be_several_and_different():
    with pytest.raises(ValueError, match="two or more"):
        build("mmoe", tasks=["click"])
    with pytest.raises(ValueError, match="different names"):
        build("mmoe", tasks=["click", "click"])

"""The flat function of a network computes what the network does, most of them to the bit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from spark_ctr.networks import build_network
from spark_ctr.networks.flat import CHUNK_ROWS, folded
from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.networks.registry import NETWORKS
from spark_ctr.networks.serialization import network_to_bytes, predictor_from_bytes
from spark_ctr.networks.tracing import trace
from spark_ctr.tables import PADDING, Inputs, Table
from tests.networks.small_networks import INPUTS, VARIANTS

LISTS = Inputs(
    (
        Table("tags", 9, 4, slots=3, padded=True),
        Table("site", 7, 4, slots=2, signed=True, pooling="sum"),
        Table("ad", 5, 4),
    ),
    (),
)
NUMBERS = Inputs((), ("age", "price"))


def rows_of(inputs, rows):
    random = np.random.default_rng(rows)
    ids = np.zeros((rows, inputs.ids_width), np.int32)
    for slot, table in enumerate(inputs.slot_tables):
        ids[:, slot] = random.integers(table.lowest, table.rows, rows)
        if table.padded:
            ids[:: slot + 2, slot] = PADDING
    return ids, random.normal(size=(rows, len(inputs.numeric))).astype(np.float32)


def drawn(network):
    """Give weights, running statistics and calibration values of no meaning."""
    generator = torch.Generator().manual_seed(7)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 0.9, generator=generator)
    return network


@pytest.mark.parametrize("inputs", [INPUTS, LISTS, NUMBERS], ids=["mixed", "lists", "numbers"])
@pytest.mark.parametrize(("name", "config"), VARIANTS)
@pytest.mark.parametrize("more", [{}, {"members": 2, "batch_norm": True}, {"layer_norm": True}])
def test_what_serves_computes_what_the_network_does(name, config, more, inputs):
    known = {key: more[key] for key in more if key in ("members", *NETWORKS[name].settings)}
    network = drawn(build_network(name, inputs, {**config, **known}, seed=1))
    predict = predictor_from_bytes(network_to_bytes(network))
    for rows in (0, 1, 5, 33):
        ids, numeric = rows_of(inputs, rows)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(ids), torch.from_numpy(numeric)).numpy()
        if known.get("batch_norm"):
            assert_close(predict(ids, numeric), wanted)
        else:
            assert np.array_equal(predict(ids, numeric), wanted)


def assert_close(found, wanted):
    """Logits are equal to float32 rounding, as `flat` says."""
    largest = np.abs(wanted).max(initial=0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("seed", range(3))
def test_batch_normalisation_goes_into_the_layer_before_it(seed):
    config = {"hidden_layers": [128, 64], "batch_norm": True}
    network = build_network("dnn", INPUTS, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            # As wide as those of trained networks: a dead unit has hardly any variance.
            module.running_var.uniform_(-12, 6, generator=generator).exp_()
            module.running_mean.normal_(generator=generator).mul_(module.running_var.sqrt())
            module.weight.data.normal_(generator=generator)
    predict = predictor_from_bytes(network_to_bytes(network))
    ids, numeric = rows_of(INPUTS, 500)
    with torch.inference_mode():
        arguments = torch.from_numpy(ids), torch.from_numpy(numeric)
        wanted = network(*arguments).numpy()
        exact = network.double()(arguments[0], arguments[1].double()).numpy()
    assert_close(predict(ids, numeric), wanted)
    # No worse than the network itself.
    errors = [np.abs(logits - exact).max() for logits in (predict(ids, numeric), wanted)]
    assert errors[0] < 3 * errors[1] + 1e-7
    calls = [node.target for node in folded(trace(network.float())).graph.nodes]
    assert calls.count(functional.linear) == 3 and functional.batch_norm not in calls


def test_large_batches_are_those_of_their_chunks():
    network = drawn(build_network("dnn", INPUTS, {"hidden_layers": [8, 6]}, seed=1))
    predict = predictor_from_bytes(network_to_bytes(network))
    ids, numeric = rows_of(INPUTS, 2 * CHUNK_ROWS + 3)
    parts = [slice(i, i + CHUNK_ROWS) for i in range(0, len(ids), CHUNK_ROWS)]
    wanted = [predict(ids[part], numeric[part]) for part in parts]
    assert np.array_equal(predict(ids, numeric), np.concatenate(wanted))
    with torch.inference_mode():
        whole = network(torch.from_numpy(ids), torch.from_numpy(numeric)).numpy()
    np.testing.assert_allclose(np.concatenate(wanted), whole, rtol=1e-5)


@pytest.mark.parametrize("rows", [3, CHUNK_ROWS + 1])
def test_what_serves_checks_its_rows(rows):
    predict = predictor_from_bytes(network_to_bytes(build_network("dnn", INPUTS)))
    ids, numeric = rows_of(INPUTS, rows)
    ids[-1, 1] = 5
    with pytest.raises(IndexError, match="id 5 of column 'ad' lies outside"):
        predict(ids, numeric)
    with pytest.raises(ValueError, match=r"numeric must have shape \[B, 2\] for columns \['age'"):
        predict(ids, numeric[:, :1])
    ids[-1, 1] = 0
    with pytest.raises((RuntimeError, ValueError)):
        predict(ids, numeric[1:])

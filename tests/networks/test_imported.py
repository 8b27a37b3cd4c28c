"""Networks named by import path."""

import json
import sys

import pytest
import torch

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.registry import network_settings
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.networks.trust import trust
from spark_ctr.training.distillation import DistillationLoss

INPUTS = Inputs((Table("site", 7, 4), Table("ad", 5, 2, slots=2, padded=True)), ("age",))
HERE = "tests.networks.own_networks"


def rows(n):
    ids = torch.tensor([[i % 7, i % 5, 2] for i in range(n)], dtype=torch.int32).reshape(n, 3)
    return ids, torch.linspace(-1, 1, n).unsqueeze(1)


def own(name, config=None, seed=0):
    return build_network(f"{HERE}:{name}", INPUTS, config, seed)


@pytest.mark.parametrize("name", ["Plain", "Named"])
def test_is_a_network_like_the_others(name):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    network = own(name, {"width": 4}, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    again = own(name, {"width": 4}, seed=5)
    for n in (0, 1, 6):
        assert not network.training
        logits = network(*rows(n))
        assert logits.shape == (n, 1) and torch.equal(logits, again(*rows(n)))
    network.train()(*rows(6)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(IndexError, match="id 9 of column 'site'"):
        network(torch.tensor([[9, 0, 0]]), torch.zeros(1, 1))


@pytest.mark.parametrize("name", ["Plain", "Named"])
def test_is_saved_by_its_import_path(name):
    network = own(name, {"width": 4}, seed=5)
    data = network_to_bytes(network)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    saved = json.loads(header["architecture"])
    assert saved["network"] == f"{HERE}:{name}" and saved["config"]["width"] == 4
    with trust(HERE):
        loaded = network_from_bytes(data)
    assert type(loaded) is type(network) and loaded.name == network.name
    assert torch.equal(loaded(*rows(9)), network(*rows(9)))
    assert network_to_bytes(loaded) == data


def test_without_its_module_a_saved_network_says_what_is_missing(monkeypatch):
    data = network_to_bytes(own("Plain"))
    monkeypatch.setitem(sys.modules, HERE, None)
    message = f"cannot import '{HERE}'.*PYTHONPATH, on the driver"
    with trust(HERE), pytest.raises(ImportError, match=message):
        network_from_bytes(data)


def test_settings_of_ones_own():
    assert network_settings(f"{HERE}:Plain") is None
    assert list(network_settings(f"{HERE}:Named")) == ["width", "hidden_layers"]
    assert own("Plain", {"any": [1, {"of": None}]}).config == {"any": [1, {"of": None}]}
    with pytest.raises(ValueError, match="must be JSON-able"):
        own("Plain", {"function": print})
    with pytest.raises(ValueError, match=r"\['depth'\].*valid keys: hidden_layers, width"):
        own("Named", {"depth": 1})


def test_distillation_finds_its_hidden_layers():
    student = build_network("dnn", INPUTS, {"hidden_layers": [4]})
    loss = DistillationLoss(own("Named"), student, layer_weights=0.1)
    assert loss.matched == {"hidden_0": "hidden_0"}
    assert not DistillationLoss(own("Plain"), own("Named"), layer_weights=0.1).matched


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("no_such_module_here:A", ImportError, "cannot import 'no_such_module_here'"),
        (f"{HERE}:Missing", ImportError, "has no 'Missing'"),
        (f"{HERE}:NoModule", TypeError, "must be a subclass of torch.nn.Module, got <class"),
        (f"{HERE}:function", TypeError, "must be a subclass of torch.nn.Module, got <function"),
        (f"{HERE}:Wide", ValueError, r"logits of shape \[B, T\].*got \[2, 2\]"),
        (f"{HERE}:Whole", ValueError, "floating-point logits, got torch.int64"),
        (f"{HERE}:Nothing", ValueError, "no parameters to train"),
        (f"{HERE}:Stateful", ValueError, "only tensors can be saved"),
        (HERE, ValueError, "unknown network"),
        (f"{HERE}:A.b", ValueError, "unknown network"),
    ],
)
def test_what_is_no_network_is_refused(path, error, message):
    with pytest.raises(error, match=message):
        build_network(path, INPUTS)


def test_logits_are_checked_in_every_batch():
    network = own("Squeezed")
    assert network(*rows(3)).shape == (3, 1)
    with pytest.raises(ValueError, match=r"shape \[B, T\].*here \[1, 1\] or \[1\], got \[\]"):
        network(*rows(1))

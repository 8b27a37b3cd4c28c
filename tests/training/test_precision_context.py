"""Mixed precision of a step, on the CPU."""

import pytest
import torch
from memory_log import DCNV2

from spark_ctr.networks import build_network
from spark_ctr.training.loss import click_loss
from spark_ctr.training.precision_context import autocast, computes_in_bfloat16


def test_only_products_of_matrices_are_bfloat16(inputs, make_rows):
    network = build_network("dcnv2", inputs, {**DCNV2, "dropout": 0.0, "batch_norm": True}, seed=0)
    dtypes = []
    hidden = network.mlp.layers["hidden_0"].linear
    hidden.register_forward_hook(lambda *call: dtypes.append(call[-1].dtype))
    rows = make_rows(64)
    losses = {}
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        with autocast(torch.device("cpu"), precision):
            loss = click_loss(network, rows)
        loss.backward()
        losses[precision] = loss.item()
        assert loss.dtype == torch.float32
        assert {p.grad.dtype for p in network.parameters()} == {torch.float32}
    assert dtypes == [torch.float32, torch.bfloat16]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)


@pytest.mark.parametrize("there", [False, True])
def test_auto_is_what_the_cpu_computes_in(monkeypatch, there):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    cpu = torch.device("cpu")
    assert computes_in_bfloat16(cpu) == there
    with autocast(cpu, "auto"):
        product = torch.mm(torch.ones(2, 2), torch.ones(2, 2))
    assert product.dtype == (torch.bfloat16 if there else torch.float32)


def test_unknown_precision():
    with pytest.raises(ValueError, match=r"one of auto, float32, bfloat16, got 'float16'"):
        autocast(torch.device("cpu"), "float16")

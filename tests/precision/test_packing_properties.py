"""Packed logits are those of the quantised network, over networks, shapes and tables at random."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agreement import assert_same_logits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spark_ctr.networks import NETWORKS, PADDING, Inputs, Table, build_network
from spark_ctr.networks.output_bias import map_logits
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.precision.sensitivity import binary_candidates
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes

widths = st.lists(st.integers(1, 19), max_size=3)
tables = st.builds(
    Table,
    name=st.just(""),
    rows=st.integers(1, 40),
    dim=st.integers(1, 5),
    slots=st.integers(1, 3),
    pooling=st.sampled_from(["mean", "sum"]),
    signed=st.booleans(),
    padded=st.booleans(),
    shared=st.sampled_from(["", "s", "t"]),
)


@st.composite
def inputs_of(draw):
    """Tables of every kind; those that share rows agree in rows and dim."""
    found = []
    for i, table in enumerate(draw(st.lists(tables, max_size=5))):
        first = next((t for t in found if t.shared and t.shared == table.shared), table)
        found.append(replace(table, name=f"c{i}", rows=first.rows, dim=first.dim))
    numeric = draw(st.integers(0 if found else 1, 3))
    return Inputs(tuple(found), tuple(f"n{i}" for i in range(numeric)))


@st.composite
def config_of(draw, name, inputs):
    """Settings of a network, its own ones too."""
    config = {"members": draw(st.sampled_from([1, 1, 2]))}
    if name != "lr":
        kinds = NETWORKS[name].settings["context_enhancement"].choices
        config |= {"context_enhancement": draw(st.sampled_from(["none", *kinds]))}
        config |= {"context_units": draw(st.integers(1, 9))}
    if name in ("lr", "fm"):
        return config
    norm = draw(st.sampled_from(["batch_norm", "layer_norm", None]))
    config |= {"hidden_layers": draw(widths)}
    config |= {kind: kind == norm for kind in ("batch_norm", "layer_norm")}
    if name == "dcnv2":
        config |= {"cross_layers": draw(st.integers(0, 2)), "cross_rank": draw(st.integers(0, 2))}
    if name == "autoint":
        config |= {"attention_layers": draw(st.integers(1, 2)), "heads": draw(st.integers(1, 2))}
        config |= {"attention_dim": 4, "attention_norm": draw(st.booleans())}
    if name == "fibinet":
        config |= {"bilinear": draw(st.sampled_from(["interaction", "each", "all"]))}
    if name == "finalmlp":
        names = st.lists(st.sampled_from([t.name for t in inputs.tables] or [""]), unique=True)
        config |= {"second_layers": draw(widths), "gate_layers": draw(widths)}
        if inputs.tables:
            config |= {"first_context": draw(names), "second_context": draw(names)}
    return config


def drawn(inputs, rows, generator):
    """Draw valid ids and numbers."""
    ids = torch.zeros(rows, inputs.ids_width, dtype=torch.int32)
    for s, table in enumerate(inputs.slot_tables):
        ids[:, s] = torch.randint(table.lowest, table.rows, (rows,), generator=generator)
        if table.padded:
            ids[torch.rand(rows, generator=generator) < 0.3, s] = PADDING
    return ids, torch.randn(rows, len(inputs.numeric), generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32), rows=st.integers(1, 70), mapped=st.booleans())
@torch.no_grad()
def test_packed_logits_are_those_of_the_network(name, data, seed, rows, mapped):
    inputs = data.draw(inputs_of())
    assume(name != "fibinet" or len(inputs.tables) + len(inputs.numeric) > 1)
    network = build_network(name, inputs, data.draw(config_of(name, inputs)), seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    for key, buffer in network.named_buffers():
        if "running" in key:
            buffer.add_(torch.rand(buffer.shape, generator=generator))
    if mapped:
        map_logits(network, 0.7, -0.3)
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    plan |= {layer: "binary" for layer in binary_candidates(network) if data.draw(st.booleans())}
    batch = drawn(inputs, rows, generator)
    activations = data.draw(st.booleans())
    quantised = prepare(network, plan, batch, activations=activations).eval()
    # The sign of what is 0 up to rounding is anybody's; read before the ReLU, which hides it.
    closest, hooks = [1.0], []
    for layer, module in quantised.named_modules():
        if layer.endswith(".norm") and "binary" in plan.values():
            hook = module.register_forward_hook(lambda *x: closest.append(x[2].abs().min().item()))
            hooks.append(hook)
    expected = quantised(*batch).numpy()
    assume(min(closest) > 1e-5)
    for hook in hooks:
        hook.remove()
    model = pack_network(quantised)
    assert model.layers == plan and model.tasks == network.tasks
    logits = packed_from_bytes(packed_to_bytes(model)).predict_logits(*(t.numpy() for t in batch))
    if activations:
        assert_same_logits(logits, expected)
        return
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * scale)

"""Packed models to test with: of random networks, and of the files that earlier versions wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from spark_ctr.networks import PADDING, Inputs, Network, Table, build_network
from spark_ctr.networks.layers.embedding import bags_of
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.precision.sensitivity import binary_candidates

SAVED = Path(__file__).parents[1] / "persistence" / "saved"
EARLIER = {
    "format 1": "format1/quantized",
    "format 2": "packed2/stages/*/MixedPrecisionQuantizer*",
    "format 3": "packed3/stages/*/MixedPrecisionQuantizer*",
}
INPUTS = Inputs(
    (
        Table("site", 50, 8),
        Table("app", 30, 4, slots=2),
        Table("sum", 9, 4, slots=3, pooling="sum"),
        Table("sign", 9, 2, signed=True),
        Table("list", 20, 8, slots=3, padded=True),
        Table("total", 9, 4, slots=2, pooling="sum", padded=True, signed=True),
        Table("one", 30, 8, slots=2, shared="tail"),
        Table("two", 30, 8, slots=2, signed=True, shared="tail"),
    ),
    ("age", "price"),
)


def saved_bytes(name: str) -> bytes:
    """Return the weights of a quantised model that an earlier version saved."""
    (folder,) = SAVED.glob(EARLIER[name])
    parts: dict[str, bytes] = {}
    for file in folder.rglob("payload/part-*.parquet"):
        for row in sorted(pq.read_table(file).to_pylist(), key=lambda row: row["part"]):
            parts[row["name"]] = parts.get(row["name"], b"") + row["data"]
    return parts["weights.safetensors"]


@torch.no_grad()
def quantised(
    name: str,
    inputs: Inputs = INPUTS,
    seed: int = 1,
    activations: bool = True,
    coarse: bool = False,
    **config,
) -> Network:
    """Return a quantised network with random biases and norms, the candidates 1-bit.

    If it is coarse, some rows of every second block have 4 bits.
    """
    if name not in ("lr", "fm"):
        config = {"batch_norm": False} | config
    network = build_network(name, inputs, config, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    for key, buffer in network.named_buffers():
        if "running" in key:
            buffer.add_(torch.rand(buffer.shape, generator=generator))
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    plan |= dict.fromkeys(binary_candidates(network), "binary")
    rows = tuple(map(torch.from_numpy, draw_rows(inputs, 200, seed)))
    few = {
        layer: [[rows // 3, rows - 2] if i % 2 == 0 else [0, 0] for i, rows in enumerate(bags.rows)]
        for layer, bags in bags_of(network).items()
    }
    options = {"activations": activations, "coarse": few if coarse else None}
    return prepare(network, plan, rows, **options).eval()


def draw_rows(inputs: Inputs, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return valid ids and numbers."""
    draw = np.random.default_rng(seed)
    ids = np.zeros((rows, inputs.ids_width), np.int32)
    for s, table in enumerate(inputs.slot_tables):
        ids[:, s] = draw.integers(table.lowest, table.rows, rows)
        if table.padded:
            ids[draw.random(rows) < 0.3, s] = PADDING
    return ids, draw.standard_normal((rows, len(inputs.numeric))).astype(np.float32)

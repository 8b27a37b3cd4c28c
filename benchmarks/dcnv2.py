"""DCNv2 on the log of `benchmarks.throughput_log`: ours, and as one writes it by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.throughput_log import DIM, N_IDS, N_NUMERIC, TABLES
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.network import Network

LAYERS, CROSS_LAYERS = [400, 400, 400], 3


class PlainDCNv2(nn.Module):
    """DCNv2 with one nn.Embedding a column."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, DIM) for rows in TABLES)
        width = N_IDS * DIM + N_NUMERIC
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(CROSS_LAYERS))
        layers: list[nn.Module] = []
        for n_in, n_out in zip([width, *LAYERS], LAYERS, strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.output = nn.Linear(width + LAYERS[-1], 1)

    def forward(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Return logits [B]."""
        embedded = [table(ids[:, i]) for i, table in enumerate(self.tables)]
        x0 = x = torch.cat([*embedded, numeric], 1)
        for cross in self.crosses:
            x = x0 * cross(x) + x
        return self.output(torch.cat([x, self.mlp(x0)], 1)).squeeze(1)


def our_network(seed: int) -> Network:
    """Build the same network with spark_ctr."""
    tables = tuple(Table(f"c{i}", rows, DIM) for i, rows in enumerate(TABLES))
    inputs = Inputs(tables, tuple(f"n{i}" for i in range(N_NUMERIC)))
    config = {
        "hidden_layers": LAYERS,
        "cross_layers": CROSS_LAYERS,
        "dropout": 0.0,
        "batch_norm": False,
    }
    return build_network("dcnv2", inputs, config, seed)

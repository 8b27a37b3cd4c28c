"""Small networks and click data."""

import pytest
import torch

from spark_ctr.networks import PADDING, Inputs, Table, build_network
from spark_ctr.training.feeds.batch import Batch

TABLES = (Table("site", 50, 8), Table("hour", 7, 4), Table("one", 1, 8), Table("ad", 9, 2))
# One table of every kind; columns of several ids stand between others of their dimension.
SLOTS = (
    Table("site", 50, 8),
    Table("app", 30, 8, slots=2),
    Table("sum", 9, 4, slots=3, pooling="sum"),
    Table("sign", 9, 2, signed=True),
    Table("signs", 40, 8, slots=2, signed=True),
    Table("list", 20, 8, slots=5, padded=True),
    Table("total", 9, 4, slots=2, pooling="sum", padded=True, signed=True),
    Table("one", 30, 8, slots=2, shared="tail"),
    Table("two", 30, 8, slots=2, signed=True, shared="tail"),
    Table("three", 30, 8, shared="tail"),
)
INPUTS = {
    "mixed": Inputs(TABLES, ("age", "price")),
    "equal": Inputs((Table("site", 50, 8), Table("ad", 7, 8)), ()),
    "slots": Inputs(SLOTS, ("age",)),
    "double": Inputs(tuple(Table(name, 30, 8, slots=2) for name in ("site", "ad")), ()),
    "numeric": Inputs((), ("age", "price")),
}


@pytest.fixture
def make_network():
    """Build a network with random biases and normalisation, so that no part is trivial."""

    def make(name, inputs="mixed", seed=1, **config):
        if name not in ("lr", "fm") and ":" not in name:
            plain = {"hidden_layers": [33, 21, 17, 9], "dropout": 0.1, "batch_norm": False}
            config = plain | ({"cross_layers": 2} if name == "dcnv2" else {}) | config
        if name == "finalmlp":
            first, *_, last = [table.name for table in INPUTS[inputs].tables] or [None, None]
            context = {"first_context": [last, first], "second_context": [last]} if first else {}
            config = {**context, "gate_layers": [6, 5], "second_layers": [8, 7], **config}
        network = build_network(name, INPUTS[inputs], config, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
            for key, buffer in network.named_buffers():
                if "running" in key:
                    buffer.add_(torch.rand(buffer.shape, generator=generator))
        return network

    return make


@pytest.fixture
def make_batch():
    """Draw rows of given inputs, labels at random."""

    def make(inputs="mixed", rows=500, seed=0):
        generator = torch.Generator().manual_seed(seed)
        tables, n_numeric = INPUTS[inputs].slot_tables, len(INPUTS[inputs].numeric)
        ids = torch.zeros(rows, len(tables), dtype=torch.int32)
        for s, table in enumerate(tables):
            ids[:, s] = torch.randint(table.lowest, table.rows, (rows,), generator=generator)
            if table.padded:
                ids[torch.rand(rows, generator=generator) < 0.3, s] = PADDING
        numeric = torch.randn(rows, n_numeric, generator=generator)
        label = torch.bernoulli(torch.full((rows,), 0.3), generator=generator)
        return Batch(ids, numeric, label, torch.rand(rows, generator=generator) + 0.5)

    return make

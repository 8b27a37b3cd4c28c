"""Small networks and click data."""

import pytest
import torch

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.training.feeds.batch import Batch

TABLES = (Table("site", 50, 8), Table("hour", 7, 4), Table("one", 1, 8), Table("ad", 9, 2))
INPUTS = {
    "mixed": Inputs(TABLES, ("age", "price")),
    "equal": Inputs((Table("site", 50, 8), Table("ad", 7, 8)), ()),
    "numeric": Inputs((), ("age", "price")),
}


@pytest.fixture
def make_network():
    """Build a network with random biases and normalisation, so that no part is trivial."""

    def make(name, inputs="mixed", seed=1, **config):
        if name != "lr":
            config = {"hidden_layers": [33, 21, 17, 9], **config}
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
        tables, n_numeric = INPUTS[inputs].tables, len(INPUTS[inputs].numeric)
        columns = [torch.randint(0, t.rows, (rows, 1), generator=generator) for t in tables]
        ids = torch.cat(columns, 1).int() if columns else torch.zeros(rows, 0, dtype=torch.int32)
        numeric = torch.randn(rows, n_numeric, generator=generator)
        label = torch.bernoulli(torch.full((rows,), 0.3), generator=generator)
        return Batch(ids, numeric, label, torch.rand(rows, generator=generator) + 0.5)

    return make

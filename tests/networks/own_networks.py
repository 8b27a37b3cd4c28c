"""Networks of a user's own, as the tests of import paths name them."""

from typing import ClassVar

import torch
from torch import nn

from spark_ctr.networks import Network
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.settings import integer


class Plain(nn.Module):
    """A module that knows nothing of spark_ctr; two names for one weight, dropout, a buffer."""

    def __init__(self, inputs, config):
        super().__init__()
        width = config.pop("width", 3)  # what is saved must not see this
        self.tables = nn.ModuleList(nn.Embedding(t.rows, width) for t in inputs.slot_tables)
        self.output = nn.Linear(width + len(inputs.numeric), 1)
        self.tied = self.output
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("shift", torch.tensor([0.5]))

    def forward(self, ids, numeric):
        rows = ids.long().clamp_min(0)
        embedded = sum(table(rows[:, s]) for s, table in enumerate(self.tables))
        x = self.dropout(torch.cat([embedded, numeric], 1))
        return self.tied(x).squeeze(1) + self.shift


class Named(Network):
    """A `Network`: settings of its own and a hidden layer that distillation finds."""

    settings: ClassVar = {"width": integer(3, at_least=1), "hidden_layers": integer(1, at_least=1)}

    def __init__(self, inputs, config):
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.layer = nn.Linear(inputs.width, config["width"])
        self.output = nn.LazyLinear(1)

    def _compute(self, ids, numeric):
        hidden = torch.relu(self.layer(torch.cat([self.embedding(ids), numeric], 1)))
        return self.output(hidden).squeeze(1), {"hidden_0": hidden}


class Wide(Plain):
    """Two logits a row, and one task."""

    def forward(self, ids, numeric):
        return super().forward(ids, numeric).unsqueeze(1).expand(-1, 2)


class Squeezed(Plain):
    """Logits that lose the batch's dimension where it is 1."""

    def forward(self, ids, numeric):
        return super().forward(ids, numeric).squeeze()


class Whole(Plain):
    """Logits that are no real numbers."""

    def forward(self, ids, numeric):
        return super().forward(ids, numeric).long()


class Nothing(nn.Module):
    """Nothing to train."""

    def __init__(self, inputs, config):
        super().__init__()

    def forward(self, ids, numeric):
        return numeric.sum(1)


class Stateful(Plain):
    """State that safetensors cannot hold."""

    def get_extra_state(self):
        return {"seen": 1}

    def set_extra_state(self, state):
        pass


class NoModule:
    """A class of another kind."""


def function():
    """Not a class."""

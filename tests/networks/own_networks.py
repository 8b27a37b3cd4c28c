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


class Fields(Network):
    """Much of what torch can say otherwise; normalisation of what is no linear layer's output."""

    def __init__(self, inputs, config):
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs, 4)
        self.norm = nn.BatchNorm1d(inputs.width)
        self.layer = nn.Sequential(nn.Linear(inputs.width, 6, bias=False), nn.BatchNorm1d(6))
        self.gate = nn.Parameter(torch.ones(len(inputs.tables)))
        self.output = nn.Linear(6, 1)

    def _compute(self, ids, numeric):
        embedded = self.embedding(ids.long())
        fields = self.embedding.project(embedded) * torch.softmax(self.gate, 0)[:, None]
        x = self.norm(torch.cat([embedded, numeric.float()], dim=-1))
        hidden = nn.functional.relu(self.layer(x))
        weights = torch.softmax(fields, dim=1).permute(0, 2, 1)[..., -1]
        pairs = fields[:, ::2].unsqueeze(1).sum((1, 3), keepdim=True).view(x.shape[0], -1)
        hidden = hidden + hidden**2 / 4 - (-hidden).sigmoid()
        return self.output(hidden)[:, 0] + pairs.mean(1) - weights.sum(-1), {}


class TwoTasks(Network):
    """Two logits of one hidden layer."""

    tasks = ("click", "buy")

    def __init__(self, inputs, config):
        super().__init__(inputs, config)
        self.embedding = EmbeddingTables(inputs)
        self.layer = nn.Linear(inputs.width, 5)
        self.output = nn.Linear(5, 2)

    def _compute(self, ids, numeric):
        hidden = torch.relu(self.layer(torch.cat([self.embedding(ids), numeric], 1)))
        return self.output(hidden), {"hidden_0": hidden}


class Sorts(Fields):
    """What no packed program can do."""

    def _compute(self, ids, numeric):
        logits, hidden = super()._compute(ids, numeric)
        return logits + numeric.sort(1).values[:, 0], hidden


class Branches(Fields):
    """What depends on the values of a batch."""

    def _compute(self, ids, numeric):
        logits, hidden = super()._compute(ids, numeric)
        return (logits if numeric.sum() > 0 else -logits), hidden


class Idle(Fields):
    """A layer that the logits do not need."""

    def __init__(self, inputs, config):
        super().__init__(inputs, config)
        self.idle = nn.Linear(2, 2)


class OwnTables(Network):
    """Look-ups without `EmbeddingTables`."""

    def __init__(self, inputs, config):
        super().__init__(inputs, config)
        self.tables = nn.ModuleList(nn.Embedding(t.rows, 3) for t in inputs.slot_tables)
        self.output = nn.Linear(3 * len(self.tables), 1)

    def _compute(self, ids, numeric):
        columns = [table(ids[:, s].long()) for s, table in enumerate(self.tables)]
        return self.output(torch.cat(columns, 1)).squeeze(1), {}


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

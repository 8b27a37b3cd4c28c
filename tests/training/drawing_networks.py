"""A module of a user's own that draws in every way there is."""

import torch
from torch import nn
from torch.nn import functional as F


class Drawing(nn.Module):
    """Dropout as a layer and as a function, noise, and functions that take no generator."""

    def __init__(self, inputs, config):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(t.rows, 4) for t in inputs.slot_tables)
        self.start = nn.Parameter(torch.rand_like(torch.empty(4)))
        self.layer = nn.Linear(4, 4)
        nn.init.xavier_normal_(self.layer.weight)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(4 + len(inputs.numeric), 1)

    def forward(self, ids, numeric):
        x = sum(table(ids[:, s].long()) for s, table in enumerate(self.tables)) + self.start
        x = self.dropout(self.layer(x))
        if self.training:
            x = F.dropout(x + 0.1 * torch.randn(x.shape) + 0.1 * torch.randn_like(x), 0.2)
            x = F.feature_alpha_dropout(x, 0.1, training=True)
        return self.output(torch.cat([x, numeric], 1)).squeeze(1)

"""A network of a user's own with two tasks, named by import path in other processes."""

import torch
from torch import nn


class TwoTasks(nn.Module):
    """A click, and what is bought after it: tables and two linear maps."""

    tasks = ("click", "buy")

    def __init__(self, inputs, config):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(t.rows, 4) for t in inputs.slot_tables)
        self.output = nn.Linear(4 * len(self.tables) + len(inputs.numeric), 2)

    def forward(self, ids, numeric):
        columns = [table(ids[:, s].long()) for s, table in enumerate(self.tables)]
        return self.output(torch.cat([*columns, numeric], 1))

"""Feature gate: a factor for each input unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.tables import Inputs


class FeatureGate(nn.Module):
    """Factors in (0, 2) for the input x of a stream: 2 sigmoid(gate(context)).

    The context are embeddings, the gate's own, of some columns. Without any the gate is the same
    for all rows, a learned vector: a perceptron over a learned vector, as published, can be no
    more.

    Parameters
    ----------
    inputs : Inputs
    context : sequence of str
        Categorical columns; may be empty.
    layers : sequence of int
        Widths of the gate's hidden layers; without context there are none.

    Raises
    ------
    ValueError
        If `inputs` has no such categorical column.

    References
    ----------
    Mao et al., "FinalMLP", AAAI 2023, equations 4 and 5.
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], layers: Sequence[int]) -> None:
        super().__init__()
        slots = {
            name: [s for s, t in enumerate(inputs.slot_tables) if t.name == name]
            for name in dict.fromkeys(context)
        }
        missing = [name for name, found in slots.items() if not found]
        if missing:
            raise ValueError(
                f"no categorical column(s) {missing} for a gate's context; the columns are "
                f"{[table.name for table in inputs.tables]}"
            )
        if not slots:
            self.constant = nn.Parameter(torch.zeros(inputs.width))
            return
        tables = tuple(table for name in slots for table in inputs.tables if table.name == name)
        self.embedding = EmbeddingTables(Inputs(tables, ()))
        self.mlp = MLP(self.embedding.width, layers, dropout=0.0)
        self.output = nn.Linear(self.mlp.width, inputs.width)
        chosen = torch.tensor([s for found in slots.values() for s in found])
        self.register_buffer("slots", chosen, persistent=False)

    def forward(self, ids: Tensor, x: Tensor) -> Tensor:
        """Scale x [B, inputs.width], the input of rows with ids [B, inputs.ids_width]."""
        if hasattr(self, "constant"):
            return x * (2 * torch.sigmoid(self.constant))
        context, _ = self.mlp(self.embedding(ids[:, self.get_buffer("slots")]))
        return x * (2 * torch.sigmoid(self.output(context)))

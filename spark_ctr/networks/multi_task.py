"""Base of the networks of several tasks."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.blocks import BLOCK_SETTINGS, BLOCKS, Block
from spark_ctr.networks.layers.context import context_settings, hidden_gates, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.numeric_fields import NumericFields, common_dim
from spark_ctr.networks.layers.towers import Towers
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting, names, widths
from spark_ctr.tables import Inputs


class MultiTaskNetwork(Network):
    """Network of several tasks: shared tables, a trunk, and a tower for each task.

    A subclass makes `trunk`, whose parameters tasks share, and `towers`.

    Attributes
    ----------
    embedding : EmbeddingTables
    trunk : Module
    towers : Towers
    """

    logit_bias = "towers.bias"
    logit_parts: ClassVar[tuple[str, ...]] = ("towers.outputs.", "towers.bias")
    settings: ClassVar[dict[str, Setting]] = {
        "tasks": names(["click", "conversion"], doc="what the logits are of"),
        **perceptron([128, 64]),
        "tower_layers": widths([32], doc="widths of the hidden layers of each task's tower"),
        **BLOCK_SETTINGS,
        **context_settings(),
    }

    trunk: Any
    towers: Towers

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        self.tasks = tuple(config["tasks"])
        if len(self.tasks) < 2:
            raise ValueError(
                f"network '{self.name}' is of several tasks, and tasks are {list(self.tasks)}: "
                "name two or more, or take a network of one task"
            )
        super().__init__(inputs, config)
        self._fields = BLOCKS[config["block"]].reads_fields
        dim = common_dim(inputs) if self._fields else None
        self.embedding = EmbeddingTables(inputs, dim)
        self.context = row_context(inputs, config)
        if dim is not None:
            self.numeric_fields = NumericFields(len(inputs.numeric), dim)

    def _columns(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the columns side by side [B, width], as fields [B, F, k] and their context.

        Fields are for blocks that read them, the context for hidden layers that it gates.
        """
        embedded, numeric, context = self._enhanced(ids, numeric)
        x = torch.cat([embedded, numeric], 1)
        if not self._fields:
            return x, x, context
        fields = self.embedding.project(embedded)
        return x, torch.cat([fields, self.numeric_fields(numeric)], 1), context

    def _block(self) -> Block:
        return BLOCKS[self.config["block"]](self.inputs, self.config, self._norm)

    def _towers(self, width: int, tasks: int | None = None) -> Towers:
        number = len(self.tasks) if tasks is None else tasks
        layers, dropout = self.config["tower_layers"], self.config["dropout"]
        gates = hidden_gates(self.inputs, self.config)
        return Towers([width] * number, layers, dropout, self._norm, gates)

    def trunk_parameters(self) -> list[nn.Parameter]:
        """Return what tasks share above the tables: the trunk's parameters, none of a table."""
        return list(self.trunk.parameters())

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError

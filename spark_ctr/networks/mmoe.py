"""MMoE: experts that each task mixes by a gate of its own."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from spark_ctr.networks.layers.blocks import joined
from spark_ctr.networks.layers.mixture import Gate
from spark_ctr.networks.multi_task import MultiTaskNetwork
from spark_ctr.settings import Setting, integer
from spark_ctr.tables import Inputs


class MMoE(MultiTaskNetwork):
    """Multi-gate mixture of experts; `hidden` returns the experts' layers side by side.

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", KDD 2018.
    """

    name = "mmoe"
    settings: ClassVar[dict[str, Setting]] = {
        **MultiTaskNetwork.settings,
        "experts": integer(4, at_least=1, at_most=64, doc="experts that all tasks mix"),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        blocks = [self._block() for _ in range(config["experts"])]
        self.trunk = nn.ModuleList(blocks)
        self.gates = nn.ModuleList(Gate(inputs.width, len(blocks)) for _ in self.tasks)
        self.towers = self._towers(blocks[0].width)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, fields, context = self._columns(ids, numeric)
        experts, hidden = zip(*(block(x, fields, context) for block in self.trunk), strict=True)
        return self.towers([gate(x, experts) for gate in self.gates], context), joined(list(hidden))

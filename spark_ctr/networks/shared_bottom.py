"""Shared bottom: one trunk, and a tower for each task."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spark_ctr.networks.multi_task import MultiTaskNetwork
from spark_ctr.tables import Inputs


class SharedBottom(MultiTaskNetwork):
    """One block that all tasks read.

    References
    ----------
    Caruana, "Multitask learning", Machine Learning 28, 1997.
    """

    name = "shared_bottom"

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        self.trunk = block = self._block()
        self.towers = self._towers(block.width)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, fields, context = self._columns(ids, numeric)
        shared, hidden = self.trunk(x, fields, context)
        return self.towers([shared] * len(self.tasks), context), hidden

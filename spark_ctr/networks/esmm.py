"""ESMM: the entire space of impressions, clicks and conversions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.blocks import joined
from spark_ctr.networks.multi_task import MultiTaskNetwork
from spark_ctr.settings import Setting, names
from spark_ctr.tables import Inputs


class ESMM(MultiTaskNetwork):
    """Click, conversion given a click, and both: P(both) = P(click) P(conversion | click).

    A block for each of the first two tasks, over shared tables, with a bias each. The third logit
    is the log-odds of the product, so that the probability of a conversion given a click is learned
    from all impressions through it. Recalibration maps the first two, and the product stays one.

    References
    ----------
    Ma et al., "Entire space multi-task model", SIGIR 2018, equation 3.
    """

    name = "esmm"
    logit_parts: ClassVar[tuple[str, ...]] = ()  # the product is not linear in them
    settings: ClassVar[dict[str, Setting]] = {
        **MultiTaskNetwork.settings,
        "tasks": names(
            ["click", "conversion", "ctcvr"], doc="click, conversion given a click, and both"
        ),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        if len(self.tasks) != 3:
            raise ValueError(
                "network 'esmm' is of three tasks, a click, a conversion given a click, and both, "
                f"not of {list(self.tasks)}: give it the labels of a click and of a conversion"
            )
        self.derived_tasks = self.tasks[2:]
        blocks = [self._block() for _ in range(2)]
        self.blocks = nn.ModuleList(blocks)
        self.trunk = nn.ModuleList()  # tasks share the tables alone
        self.towers = self._towers(blocks[0].width, tasks=2)

    def _outputs(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits, hidden = self._compute(ids, numeric)
        line = self.get_buffer("logit_calibration")
        two = logits * line[:2, 0] + line[:2, 1]
        both = log_odds_of_product(two)
        return torch.cat([two, both * line[2:, 0] + line[2:, 1]], 1), hidden

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, fields, context = self._columns(ids, numeric)
        found, hidden = zip(*(block(x, fields, context) for block in self.blocks), strict=True)
        return self.towers(found, context), joined(list(hidden))


def log_odds_of_product(logits: Tensor) -> Tensor:
    """Return the log-odds [B, 1] of sigmoid(a) sigmoid(b), of logits a and b [B, 2].

    The odds are 1 / (exp(-a) + exp(-b) + exp(-a - b)), so no probability is ever rounded.
    """
    terms = torch.cat([-logits, -logits.sum(1, keepdim=True)], 1).float()
    return -torch.logsumexp(terms, 1, keepdim=True)

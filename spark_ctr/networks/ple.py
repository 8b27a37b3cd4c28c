"""PLE: experts of each task beside shared ones, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from spark_ctr.networks.layers.blocks import joined
from spark_ctr.networks.layers.mixture import Gate
from spark_ctr.networks.multi_task import MultiTaskNetwork
from spark_ctr.settings import Setting, integer
from spark_ctr.tables import Inputs


class PLE(MultiTaskNetwork):
    """Progressive layered extraction; with one level, customised gate control (CGC).

    Experts of the first level are blocks, those above are perceptrons. `hidden` returns the layers
    of the first level's experts side by side.

    References
    ----------
    Tang et al., "Progressive layered extraction (PLE): a novel multi-task learning model for
    personalized recommendations", RecSys 2020, section 4.
    """

    name = "ple"
    settings: ClassVar[dict[str, Setting]] = {
        **MultiTaskNetwork.settings,
        "shared_experts": integer(2, at_least=1, at_most=64, doc="experts that all tasks mix"),
        "task_experts": integer(1, at_least=1, at_most=64, doc="experts of each task alone"),
        "levels": integer(1, at_least=1, at_most=8, doc="levels of experts"),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        tasks, of_task = len(self.tasks), config["task_experts"]
        number = tasks * of_task + config["shared_experts"]
        blocks = [self._block() for _ in range(number)]
        width, gated = blocks[0].width, inputs.width
        levels, gates = [nn.ModuleList(blocks)], nn.ModuleList()
        for level in range(config["levels"]):
            if level:
                later = [self._perceptron(width, prefix="later") for _ in range(number)]
                levels.append(nn.ModuleList(later))
                gated, width = width, later[0].width
            own = [Gate(gated, of_task + config["shared_experts"]) for _ in self.tasks]
            last = level == config["levels"] - 1
            gates.append(nn.ModuleList([*own, *([] if last else [Gate(gated, number)])]))
        self.trunk = nn.ModuleList(levels)
        self.gates: Any = gates
        self.towers = self._towers(width)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x, fields, context = self._columns(ids, numeric)
        first, hidden = zip(*(block(x, fields, context) for block in self.trunk[0]), strict=True)
        mixed = self._mixed(self.gates[0], [x] * (len(self.tasks) + 1), first)
        for level, gates in zip(list(self.trunk)[1:], list(self.gates)[1:], strict=True):
            of_task = self.config["task_experts"]
            # Each task's experts read its own mixture, the shared ones the shared mixture.
            sources = [mixed[min(e // of_task, len(self.tasks))] for e in range(len(level))]
            experts = [expert(z, context)[0] for expert, z in zip(level, sources, strict=True)]
            mixed = self._mixed(gates, mixed, experts)
        return self.towers(mixed[: len(self.tasks)], context), joined(list(hidden))

    def _mixed(
        self, gates: Any, selectors: Sequence[Tensor], experts: Sequence[Tensor]
    ) -> list[Tensor]:
        """Mix the experts of each task and the shared ones; last, where it is gated, all."""
        tasks, of_task = len(self.tasks), self.config["task_experts"]
        shared = list(experts[tasks * of_task :])
        own = [list(experts[t * of_task : (t + 1) * of_task]) + shared for t in range(tasks)]
        sets = [*own, list(experts)]
        return [gate(selectors[i], sets[i]) for i, gate in enumerate(gates)]

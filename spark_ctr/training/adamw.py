"""Fused AdamW by torch's functional form.

``torch.optim.AdamW`` does the same and imports torch's compiler first, seconds in every process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), with torch's defaults.

    Parameters
    ----------
    groups : sequence of (parameters, weight decay)
        Float tensors.

    Attributes
    ----------
    state : dict of parameter -> dict of str -> Tensor
        ``step``, ``exp_avg`` and ``exp_avg_sq`` of every parameter that took a step, as
        ``torch.optim.AdamW(fused=True)`` keeps them.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[nn.Parameter], float]]) -> None:
        self._groups = groups
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the parameters that have a gradient, in place."""
        for parameters, weight_decay in self._groups:
            gradients = [(p, p.grad) for p in parameters if p.grad is not None]
            if not gradients:
                continue
            for parameter, _ in gradients:
                if parameter not in self.state:
                    self.state[parameter] = self.initial_state(parameter)
            states = [self.state[parameter] for parameter, _ in gradients]
            adamw(
                [parameter for parameter, _ in gradients],
                [gradient for _, gradient in gradients],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )

    @staticmethod
    def initial_state(parameter: Tensor) -> dict[str, Tensor]:
        """Return the state of a parameter before its first step."""
        return {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }

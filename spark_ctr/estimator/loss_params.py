"""Params of losses that compare a network with another one."""

from __future__ import annotations

from spark_ctr.stage.base import Stage, number, param


class HasLogitWeight(Stage):
    """Mixin for the weight of the difference of logits."""

    logitWeight = param(
        "logitWeight",
        "weight of the squared difference from the logits of the teacher, or of the "
        "full-precision network",
        number("logitWeight", float, at_least=0.0),
        1.0,
    )

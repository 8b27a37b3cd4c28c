"""Stages survive pickle, cloudpickle and deepcopy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pyspark import cloudpickle
from small_models import front, quantizer

COPIES: list[Callable[[Any], Any]] = [
    lambda stage: pickle.loads(pickle.dumps(stage)),
    lambda stage: pickle.loads(cloudpickle.dumps(stage)),
    copy.deepcopy,
]


@pytest.mark.parametrize("how", COPIES, ids=["pickle", "cloudpickle", "deepcopy"])
def test_copies_are_equal_and_apart(models: dict[str, Any], how: Any) -> None:
    for stage in [*front(), quantizer(), *models.values()]:
        again = how(stage)
        assert type(again) is type(stage) and again.uid == stage.uid
        if not hasattr(stage, "getClassifier"):
            assert again.explainParams() == stage.explainParams()
        set_before = {p.name for p in stage.params if stage.isSet(p)}
        assert {p.name for p in again.params if again.isSet(p)} == set_before
        assert all(p.parent == again.uid for p in again.params)
        if hasattr(stage, "_state") and stage in models.values():
            assert again._state() == stage._state()
    assert again.copy({again.threshold: 0.25}).getThreshold() == 0.25
    again.setThreshold(0.75)
    assert stage.getThreshold() == 0.5

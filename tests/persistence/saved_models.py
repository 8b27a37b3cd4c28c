"""Models that an earlier version saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spark_ctr

SAVED = Path(__file__).with_name("saved")
FORMAT1 = SAVED / "format1"


def saved_models() -> dict[str, Any]:
    """Return cleaner, selector, encoder, classifier and quantised model by name."""
    stages = spark_ctr.load(str(FORMAT1 / "pipeline")).stages
    named = dict(zip(["cleaner", "selector", "encoder", "classifier"], stages, strict=True))
    return named | {"quantized": spark_ctr.load(str(FORMAT1 / "quantized"))}

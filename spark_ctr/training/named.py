"""What is named by its import path, for other processes to find."""

from __future__ import annotations

import importlib
from typing import Any


def named(path: str) -> Any:
    """Import "package.module:name", which this program named itself."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)

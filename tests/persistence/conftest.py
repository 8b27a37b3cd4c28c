"""Models that an earlier version saved: no test here has to fit one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from disk_files import without_spark
from saved_models import saved_models


@pytest.fixture(scope="session")
def models() -> dict[str, Any]:
    """Cleaner, selector, encoder, classifier and quantised model by name; do not change them."""
    with without_spark():
        return saved_models()


@pytest.fixture
def disk() -> Iterator[None]:
    """Save and load without Spark."""
    with without_spark():
        yield

"""The warning for too few clicks."""

from __future__ import annotations

from spark_ctr.training.sample_size import too_few_events


def test_the_rarer_class_decides():
    assert too_few_events(1_000, 60_000) is None
    assert too_few_events(59_000, 60_000) is None
    assert too_few_events(287, 60_000).startswith("287 clicks in 60,000 rows carry too little")
    assert too_few_events(59_001, 60_000) is not None

"""Training in several Spark tasks: the same model, and what becomes of failures."""

from __future__ import annotations

import numpy as np
import pytest
from small_classifier import classifier, figures

pytestmark = pytest.mark.once
FAILING = "tests.stage.failing_network:Failing"


def test_an_error_of_a_worker_is_the_drivers(small_clicks, tmp_path):
    options = {"how": "raise", "at": 3, "marker": str(tmp_path / "failed")}
    with pytest.raises(RuntimeError, match="planted") as caught:
        classifier(network=FAILING, networkOptions=options, numWorkers=2).fit(small_clicks)
    assert "Traceback of training worker 1" in str(caught.value)
    assert 'raise OverflowError("planted")' in str(caught.value)


def test_a_killed_worker_costs_an_epoch(small_clicks, tmp_path):
    options = {"how": "kill", "at": 12, "marker": str(tmp_path / "killed")}
    killed = classifier(network=FAILING, networkOptions=options, numWorkers=2).fit(small_clicks)
    assert (tmp_path / "killed").exists()
    assert killed.summary.history["resumed_at"] == [9]
    whole = classifier(network=FAILING, networkOptions=options).fit(small_clicks)
    np.testing.assert_allclose(figures(killed), figures(whole), rtol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"numWorkers": 3, "batchSize": 64}, "batchSize .64. is shared among numWorkers .3."),
        ({"numWorkers": 4}, "numWorkers .4. tasks must run at the same time"),
        ({"numWorkers": 2, "device": "cuda"}, "spark.task.resource.gpu.amount"),
    ],
)
def test_what_cannot_run_is_refused_before_a_job(small_clicks, params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).fit(small_clicks)

"""What the teacher benchmark scores and splits."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.model_zoo import DEFAULTS, PUBLISHED, scores
from benchmarks.model_zoo_fuxictr import arguments_of
from benchmarks.model_zoo_logs import Log, Rows
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.training.metrics import calibration_of_logits, log_loss_of_logits, roc_auc


def test_scores_of_probabilities_are_those_expected_of_labels():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=40)
    p = 1 / (1 + np.exp(-logit - rng.normal(size=40)))
    wins = (logit[:, None] > logit) + 0.5 * (logit[:, None] == logit)
    pairs = p[:, None] * (1 - p)
    assert scores(p, logit)["auc"] == pytest.approx((wins * pairs).sum() / pairs.sum())
    drawn = (rng.random(40) < p).astype(float)
    found = scores(drawn, logit)
    assert found["auc"] == pytest.approx(roc_auc(drawn, logit))
    assert found["log_loss"] == pytest.approx(log_loss_of_logits(drawn, logit))
    assert found["calibration ratio"] == pytest.approx(calibration_of_logits(drawn, logit))


def test_rows_that_choose_the_epoch_are_not_trained_on():
    rows = Rows(np.arange(50, dtype=np.int32)[:, None], np.zeros((50, 0)), np.zeros(50))
    kept, chosen = Log(Inputs((Table("row", 50, 1),), ()), rows, rows).split(seed=3)
    assert len(chosen.label) == 5
    assert sorted([*kept.ids[:, 0], *chosen.ids[:, 0]]) == list(range(50))


@pytest.mark.parametrize("settings", [PUBLISHED, DEFAULTS])
def test_settings_are_those_of_a_classifier(settings):
    inputs = Inputs((Table("user", 5, 2), Table("item", 5, 2)), ())
    for params in settings.values():
        classifier = CTRClassifier(**params)
        network = build_network(classifier.getNetwork(), inputs, classifier.network_config())
        assert network.name == params["network"]


@pytest.mark.parametrize("name", [n for n, params in PUBLISHED.items() if "members" not in params])
def test_fuxictr_gets_the_size_and_penalty_of_ours(name):
    inputs = Inputs((Table("user", 5, 2), Table("item", 5, 2)), ())
    classifier = CTRClassifier(**PUBLISHED[name] | {"hiddenLayers": [15, 15], "dropout": 0.3})
    network = build_network(classifier.getNetwork(), inputs, classifier.network_config())
    told = {"network": network.name, "config": network.config, "penalty": 0.05, "dim": 10}
    found = list(arguments_of(told).values())
    assert 0.05 in found
    assert ([15, 15] in found and 0.3 in found) == (name not in ("lr", "fm"))

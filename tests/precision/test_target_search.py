"""Quantisation within targets: which plans are trained, and what is made of them."""

import pytest

from spark_ctr.networks.serialization import network_to_bytes
from spark_ctr.precision import attempts as module
from spark_ctr.precision.attempts import binary_layers
from spark_ctr.precision.fine_tuning import fine_tune, quantisation
from spark_ctr.precision.front import Targets
from spark_ctr.precision.packing import pack_network
from spark_ctr.training import History, TrainingSettings
from spark_ctr.training.training_run import TrainedNetwork
from tests.precision.test_fine_tuning import PLAIN, OneBatch

FULL_LOSS = 0.3


class Tuning:
    """A fine-tuning whose figures and times are given by the count of 1-bit layers."""

    def __init__(self, monkeypatch, network, batch, rounded, trained, times=None):
        self.network, self.batch, self.times = network, batch, times
        self.losses = {False: rounded, True: trained}
        self.trained, self.timed = [], []
        monkeypatch.setattr(module, "figures_of", self._figures)

    def _figures(self, network, feed):
        if network is self.network:
            return {"auc": 0.8, "log_loss": FULL_LOSS}
        count = sum(type(m).__name__ == "BinaryLinear" for m in network.modules())
        loss = self.losses[network in [t.network for t in self.trained]][count]
        return {"auc": 0.8, "log_loss": loss}

    def _run(self, asked):
        history = History().to_dict()
        self.trained.append(TrainedNetwork(asked.network, history, "feed"))
        return self.trained[-1]

    def _timer(self, models, ids, numeric):
        assert len(ids) == len(numeric) == self.batch.rows
        assert all(predict(ids, numeric).shape == (len(ids), 1) for predict in models.values())
        self.timed.append(list(models))
        full, *plans = models
        times = self.times or [1.0] * len(plans)
        return {full: 9.0, **dict(zip(plans, times, strict=True))}

    def __call__(self, **targets):
        feed = OneBatch(self.batch)
        objective = quantisation(
            self.network,
            logit_weight=1.0,
            regularisation_weight=0.0,
            prioritised_epochs=0,
            inverse_layerwise=False,
        )
        return fine_tune(
            self.network,
            feed,
            feed,
            settings=TrainingSettings(**PLAIN),
            epochs=1,
            learning_rate=0.01,
            binary_share=0.0,
            tolerance=0.0,
            loss_tolerance=0.1,
            activations=True,
            coarse_share=0.0,
            objective=objective,
            run=self._run,
            targets=Targets(**targets),
            timer=self._timer,
        )

    def counts(self):
        """1-bit layers of the plans that were trained."""
        titles = [t.network for t in self.trained]
        return [sum(type(m).__name__ == "BinaryLinear" for m in n.modules()) for n in titles]


@pytest.fixture
def tuning(monkeypatch, make_network, make_batch):
    def make(rounded, trained, times=None):
        network = make_network("dnn").eval()  # three layers may be 1-bit
        return Tuning(monkeypatch, network, make_batch(rows=50), rounded, trained, times)

    return make


GOOD = [0.301, 0.31, 0.315, 0.32]
BAD = [0.301, 0.4, 0.5, 0.6]


def test_rounding_is_enough_where_8_bits_meet_the_targets(tuning):
    work = tuning(BAD, BAD)
    found = work(nbytes=10**9, microseconds=1.0)
    assert work.counts() == [] and binary_layers(found.plan) == []
    assert len(work.timed) == 1 and len(work.timed[0]) == 5
    assert [p.log_loss for p in found.front.points] == BAD
    assert [p.acceptable for p in found.front.points] == [True, False, False, False]
    # All take the same time, and more 1-bit layers fewer bytes.
    assert all(p.on_front for p in found.front.points)
    assert found.front.full["bytes"] == sum(w.nbytes for w in work.network.state_dict().values())
    assert found.front.full["microseconds_per_row"] == 9.0
    assert len(found.log) == 5 and found.log[-1].startswith("taken: 1-bit layers none, rounded")
    assert "log loss 0.4000, 0.3000; 1 µs a row, " in found.log[1]
    assert found.trained.history["epochs"] == [] and found.trained.feed == ""


def test_the_fewest_1_bit_layers_that_meet_the_targets_are_trained(tuning):
    work = tuning(BAD, GOOD, times=[4.0, 3.0, 2.0, 1.0])
    found = work(microseconds=2.5)
    assert work.counts() == [2] and len(binary_layers(found.plan)) == 2
    assert found.trained is work.trained[0]
    assert found.figures == {
        "full": {"auc": 0.8, "log_loss": 0.3},
        "quantised": {"auc": 0.8, "log_loss": 0.315},
    }
    taken = found.front.chosen
    assert taken.trained and taken.on_front and taken.microseconds == 2.0
    assert taken.nbytes == pack_network(found.trained.network).nbytes
    assert not found.front.missed


def test_a_plan_that_loses_too_much_falls_back_to_the_nearest_acceptable(tuning):
    work = tuning(BAD, [0.301, 0.32, 0.4, 0.3], times=[4.0, 3.0, 2.0, 1.0])
    found = work(microseconds=2.5)
    # Three 1-bit layers contain the two that failed, whatever training would make of them.
    assert work.counts() == [2, 1] and len(binary_layers(found.plan)) == 1
    assert found.trained is work.trained[1]
    assert found.front.missed and "targetLatency=2.5 by 20 % (it takes 3)" in found.log[-1]
    assert found.front.targets.excess(found.front.chosen) == pytest.approx(0.2)


def test_where_no_plan_is_near_enough_8_bits_are_the_last_resort(tuning):
    work = tuning(BAD, BAD, times=[4.0, 3.0, 2.0, 1.0])
    found = work(microseconds=0.1)
    assert work.counts() == [3, 2, 1] and binary_layers(found.plan) == []
    # What was not kept is made again, as it was.
    again = pack_network(found.trained.network).to_arrays()[1]
    whole = pack_network(work(microseconds=100.0).trained.network).to_arrays()[1]
    assert again.keys() == whole.keys()
    assert all((again[name] == whole[name]).all() for name in again)


def test_slower_1_bit_layers_are_not_trained_for_time(tuning):
    work = tuning(BAD, GOOD, times=[1.0, 1.5, 2.0, 2.5])
    found = work(microseconds=0.9)
    assert work.counts() == [] and binary_layers(found.plan) == [] and found.front.missed


def test_8_bits_are_trained_where_rounding_loses_too_much(tuning):
    work = tuning([0.4, 0.5, 0.6, 0.7], [0.31, 0.31, 0.31, 0.31])
    found = work(nbytes=10**9)
    assert work.counts() == [0] and found.trained is work.trained[0]
    assert not found.front.missed
    hopeless = tuning([0.4, 0.5, 0.6, 0.7], [0.39, 0.31, 0.31, 0.31])
    found = hopeless(nbytes=10**9)
    assert hopeless.counts() == [0] and found.figures["quantised"]["log_loss"] == 0.39
    assert found.front.missed and "since none loses at most" in found.log[-1]


def test_training_that_spoils_is_not_taken(tuning):
    work = tuning([0.301, 0.302, 0.303, 0.304], [0.301, 0.4, 0.5, 0.6], times=[4.0, 3.0, 2.0, 1.0])
    for count, target in ((1, 3.0), (2, 2.0)):
        work.trained.clear()
        found = work(microseconds=target)
        assert work.counts() == [count] and len(binary_layers(found.plan)) == count
        assert found.trained.feed == "" and found.trained.history["epochs"] == []
        assert found.figures["quantised"]["log_loss"] == work.losses[False][count]


def test_the_network_is_left_as_it_is(tuning):
    work = tuning(BAD, GOOD)
    work.network.train()
    before = network_to_bytes(work.network)
    work(nbytes=1)
    assert work.network.training and network_to_bytes(work.network) == before
    assert all(p.grad is None for p in work.network.parameters())

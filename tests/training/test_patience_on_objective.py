"""Patience on the objective: what it looks at, what it leaves to `monitor`, and resuming."""

from dataclasses import replace

import pytest
import torch
from memory_log import DCNV2, DNN, INPUTS, PLAIN, click_rows

from spark_ctr.networks import build_network
from spark_ctr.training import Checkpoints, TrainingSettings, train
from spark_ctr.training.distillation import distillation
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import click_loss, weighted_bce, weighted_mean
from tests.kill_at import KillAt, Killed

SETTINGS = TrainingSettings(
    **PLAIN | {"average_weights": True},
    learning_rate=0.02,
    max_epochs=4,
    patience=4,
    patience_on="objective",
    device="cpu",
    precision="float32",
)


class Parts:
    """A feed of rows with the logits of a teacher, and rows without labels beside each batch."""

    def __init__(self, rows, size, further=None):
        self.rows, self._all, self._size, self._further = rows.rows, rows, size, further
        self.steps = -(-rows.rows // size)

    def batches(self, epoch, start=0):
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(epoch))
        for at in order.split(self._size)[start:]:
            r = self._all
            columns = (c[at] for c in (r.ids, r.numeric, r.label, r.weight))
            yield Batch(*columns, teacher=r.teacher[at], unlabelled=self._further)


def rows_of(teacher, n, seed):
    rows = click_rows(n, seed)
    with torch.no_grad():
        return replace(rows, teacher=teacher(rows.ids, rows.numeric))


@pytest.fixture
def pair():
    teacher = build_network("dcnv2", INPUTS, DCNV2 | {"hidden_layers": [12, 8]}, seed=1).eval()
    config = DNN | {"hidden_layers": [8, 4], "dropout": 0.3, "batch_norm": True}
    return teacher, build_network("dnn", INPUTS, config, seed=2)


def fit(pair, settings=SETTINGS, loss=None, checkpoints=None, progress=None):
    teacher, student = pair
    feeds = (
        Parts(rows_of(teacher, 256, 1), 32, rows_of(teacher, 16, 3)),
        Parts(rows_of(teacher, 100, 2), 48),
    )
    if loss is None:
        weights = {"logit_weight": 1.0, "layer_weights": 0.1}
        loss = distillation(
            teacher, **weights, logit_shift=0.7, decay_epochs=3, pairing="learned", seed=4
        )
        loss = loss.loss(student)
    return train(student, *feeds, settings, loss=loss, progress=progress, checkpoints=checkpoints)


@pytest.mark.parametrize("average", [True, False])
def test_it_is_the_loss_of_the_validation_rows_without_what_decays(pair, average):
    settings = replace(SETTINGS, max_epochs=1, average_weights=average)
    history = fit(pair, settings)
    teacher, student = pair
    rows = rows_of(teacher, 100, 2)
    with torch.no_grad():
        z = student(rows.ids, rows.numeric)
    # Rows that choose the epoch are not sampled, so there is no shift.
    wanted = weighted_bce(z, rows.label, rows.weight)
    wanted = wanted + weighted_mean((z - rows.teacher).square(), rows.weight)
    assert history.epochs[0]["valid_objective"] == pytest.approx(float(wanted), rel=1e-5)
    assert not student.training


def test_only_where_it_is_asked_for(pair):
    history = fit(pair, replace(SETTINGS, patience_on="monitor"))
    assert all("valid_objective" not in record for record in history.epochs)


def test_it_changes_nothing_but_when_training_ends(pair):
    one = fit(pair)
    teacher, student = pair
    weights = student.state_dict()
    again = teacher, build_network("dnn", INPUTS, student.config, seed=2)
    two = fit(again, replace(SETTINGS, patience_on="monitor"))
    for record, other in zip(one.epochs, two.epochs, strict=True):
        assert all(record[key] == other[key] for key in ("train_loss", "valid_loss", "valid_auc"))
    assert one.best_epoch == two.best_epoch
    assert all(torch.equal(value, weights[key]) for key, value in again[1].state_dict().items())


class Scripted:
    """A loss whose figure on the validation rows is given; no epoch's AUC has a say in it."""

    def __init__(self, figures):
        self.figures, self.at = figures, -1

    def before_epoch(self, epoch):
        self.at = epoch

    def __call__(self, network, batch):
        return click_loss(network, batch)

    def comparable(self, network, batch):
        assert not network.training
        return torch.tensor(self.figures[self.at])


@pytest.mark.parametrize(
    ("figures", "epochs", "stopped"),
    [
        ([3.0, 2.0, 1.0, 0.5, 0.4, 0.3], 6, False),
        ([3.0, 2.0, 2.5, 2.0, 0.1, 0.1], 4, True),
        ([3.0, 3.5, 2.0, 2.5, 2.5, 0.1], 5, True),
        ([float("nan"), float("nan"), 1.0, 1.0, 1.0, 1.0], 2, True),
    ],
)
def test_patience_counts_epochs_without_a_better_objective(pair, figures, epochs, stopped):
    settings = replace(SETTINGS, max_epochs=6, patience=2, learning_rate_decay=0.5)
    history = fit(pair, settings, Scripted(figures))
    assert len(history.epochs) == epochs and history.stopped_early == stopped
    found = [record["valid_objective"] for record in history.epochs]
    assert found == pytest.approx(figures[:epochs], nan_ok=True)
    # The best epoch is still that of the best AUC.
    aucs = [record["valid_auc"] for record in history.epochs]
    assert history.monitor == "auc" and history.best_epoch == aucs.index(max(aucs))
    # "plateau" halves the learning rate after each worse epoch.
    best, worse = float("inf"), 0
    for figure, record in zip(figures, history.epochs, strict=False):
        assert record["learning_rate"] == pytest.approx(0.02 * 0.5**worse)
        best, worse = (figure, worse) if figure < best else (best, worse + 1)


def test_a_loss_without_the_method_is_looked_at_itself(pair):
    history = fit(pair, loss=click_loss)
    for record in history.epochs:
        assert record["valid_objective"] == pytest.approx(record["valid_loss"], rel=1e-5)


def test_without_validation_rows_all_epochs_run(pair):
    teacher, student = pair
    history = train(student, Parts(rows_of(teacher, 64, 1), 32), None, SETTINGS)
    assert len(history.epochs) == 4
    assert history.to_dict()["epochs"][0]["valid_objective"] is None


@pytest.mark.parametrize("batches", [3, 17, 26])
def test_an_ended_run_goes_on_to_the_same_bits(pair, batches, tmp_path):
    settings = replace(SETTINGS, max_epochs=5, patience=1, learning_rate=0.1)
    teacher, student = pair

    def run(checkpoints=None, progress=None):
        network = build_network("dnn", INPUTS, student.config, seed=2)
        history = fit((teacher, network), settings, None, checkpoints, progress)
        return network.state_dict(), history

    def figures(history):
        keys = ("train_loss", "valid_loss", "valid_objective", "learning_rate")
        return [[record[key] for key in keys] for record in history.epochs]

    whole, history = run()
    if batches < 8 * len(history.epochs):
        with pytest.raises(Killed):
            run(Checkpoints(str(tmp_path), every_steps=2), KillAt(batches))
    resumed, second = run(Checkpoints(str(tmp_path), every_steps=2))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert figures(second) == figures(history)
    ended = (history.best_epoch, history.stopped_early)
    assert ended == (second.best_epoch, second.stopped_early)

"""What distillation brought: the figures that are compared, and the words for them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.distillation.verdict import best_figures, pays, verdict


def figures(auc, log_loss, calibration=1.0):
    return {"auc": auc, "log_loss": log_loss, "calibration": calibration}


def test_the_figures_are_those_of_the_best_epoch():
    epochs = [
        {"valid_auc": auc, "valid_loss": loss, "valid_calibration": ratio}
        for auc, loss, ratio in ((0.7, 0.5, 1.1), (0.8, 0.4, 0.9), (0.75, 0.45, 1.0))
    ]
    assert best_figures({"epochs": epochs, "best_epoch": 1}) == figures(0.8, 0.4, 0.9)
    assert best_figures({"epochs": [], "best_epoch": -1}) is None
    for value in (None, math.nan):
        broken = [{**epochs[0], "valid_auc": value}]
        assert best_figures({"epochs": broken, "best_epoch": 0}) is None


@pytest.mark.parametrize(
    ("auc", "loss", "word"),
    [
        (0.7010, 0.2000, "brought +0.0010"),
        (0.7001, 0.1990, "brought +0.0001"),
        (0.7001, 0.1999, "brought nothing beyond noise"),
        (0.6999, 0.2001, "brought nothing beyond noise"),
        (0.6990, 0.1990, "lost -0.0010"),
        (0.7001, 0.2010, "lost +0.0001"),
    ],
)
def test_the_words_follow_the_figures(auc, loss, word):
    line = verdict(figures(auc, loss, 1.02), figures(0.7, 0.2, 0.97))
    assert line.startswith(f"distillation {word}") and "\n" not in line
    assert f"AUC {auc:.4f} against 0.7000" in line and "1.020 and 0.970 times" in line
    assert f"log loss {loss:.4f} against 0.2000" in line


@given(st.floats(0.01, 2.0), st.floats(0.01, 2.0))
def test_mixed_rows_pay_where_they_gain_half_a_percent(mixed, without):
    assert pays(figures(0.5, mixed), figures(0.9, without)) == (mixed < 0.995 * without)

"""Metrics against scikit-learn and hand-computed values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from spark_ctr.training.metrics import (
    calibration_ratio,
    expected_calibration_error,
    log_loss,
    log_loss_of_logits,
    roc_auc,
)


@st.composite
def scored_rows(draw):
    n = draw(st.integers(2, 60))
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    label[0], label[1] = 0, 1
    # Few distinct scores, so that ties are common.
    score = np.array(draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))) / 8 + 1 / 32
    weight = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=float)
    return label, score, weight


@settings(max_examples=60, deadline=None)
@given(scored_rows())
def test_auc_and_log_loss_equal_scikit_learn(rows):
    label, score, weight = rows
    for w in (None, weight):
        assert roc_auc(label, score, w) == pytest.approx(
            reference.roc_auc_score(label, score, sample_weight=w), abs=1e-12
        )
        expected = reference.log_loss(label, score, sample_weight=w)
        assert log_loss(label, score, w) == pytest.approx(expected, abs=1e-12)
        logit = np.log(score / (1 - score))
        assert log_loss_of_logits(label, logit, w) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(scored_rows())
def test_auc_counts_pairs(rows):
    label, score, weight = rows
    won = pairs = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero(label == 0):
            pair = weight[i] * weight[j]
            pairs += pair
            won += pair * (float(score[i] > score[j]) + 0.5 * float(score[i] == score[j]))
    assert roc_auc(label, score, weight) == pytest.approx(won / pairs, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(scored_rows(), st.integers(1, 12), st.integers(0, 1000))
def test_integer_weight_is_repetition_and_order_does_not_matter(rows, bins, seed):
    label, score, weight = rows
    times = weight.astype(int)
    many = (np.repeat(label, times), np.repeat(score, times))
    order = np.random.default_rng(seed).permutation(len(label))
    for metric in (
        roc_auc,
        log_loss,
        calibration_ratio,
        lambda *rows: expected_calibration_error(*rows, bins=bins),
    ):
        once = metric(label, score, weight)
        assert metric(*many, None) == pytest.approx(once, abs=1e-12)
        assert metric(label[order], score[order], weight[order]) == pytest.approx(once, abs=1e-12)


def test_calibration_error_by_hand():
    probability = [0.1, 0.2, 0.3, 0.4, 0.6, 0.8]
    label = [0, 0, 1, 0, 1, 1]
    # Three bins of two rows: |0.15 - 0|, |0.35 - 0.5|, |0.7 - 1|, one third each.
    assert expected_calibration_error(label, probability, bins=3) == pytest.approx(0.6 / 3)
    # Two bins of three rows: |0.6 - 1| / 3 and |1.8 - 2| / 3, one half each.
    assert expected_calibration_error(label, probability, bins=2) == pytest.approx(0.6 / 6)
    # One bin: |2.4 - 3| / 6, and the ratio 2.4 / 3.
    assert expected_calibration_error(label, probability, bins=1) == pytest.approx(0.1)
    assert calibration_ratio(label, probability) == pytest.approx(0.8)
    # Weight 3 on the last row: 6 of 8 lie above the middle of [0.6], 3 rows left of it.
    weight = [1, 1, 1, 1, 1, 3]
    assert expected_calibration_error(label, probability, weight, bins=2) == pytest.approx(
        (abs(1.0 - 1) + abs(0.6 + 2.4 - 4)) / 8
    )


def test_constant_prediction_is_one_bin():
    label = np.array([0, 1, 1, 0, 1])
    assert expected_calibration_error(label, np.full(5, 0.5), bins=10) == pytest.approx(0.1)


def test_missing_class_and_no_rows_are_nan():
    assert np.isnan(roc_auc([1, 1], [0.2, 0.4]))
    assert np.isnan(roc_auc([], []))
    assert np.isnan(log_loss([], []))
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(calibration_ratio([0, 0], [0.2, 0.4]))
    assert calibration_ratio([1, 0], [0.2, 0.4]) == pytest.approx(0.6)


def test_log_loss_of_extreme_logits_is_finite():
    assert log_loss_of_logits([0, 1], [1000.0, 1000.0]) == pytest.approx(500.0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([0, 1], [0.1]), "equal lengths"),
        (([0, 1], [0.1, np.nan]), "nan"),
        (([0, 2], [0.1, 0.2]), "0 or 1"),
        (([0, 1], [0.1, 0.2], [1, -1]), ">= 0"),
    ],
)
def test_bad_rows(rows, message):
    for metric in (roc_auc, log_loss, expected_calibration_error, calibration_ratio):
        with pytest.raises(ValueError, match=message):
            metric(*rows)


def test_bins_must_be_positive():
    with pytest.raises(ValueError, match="bins must be at least 1"):
        expected_calibration_error([0, 1], [0.1, 0.2], bins=0)

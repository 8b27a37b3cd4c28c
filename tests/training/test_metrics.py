"""Metrics against scikit-learn and hand-computed values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from spark_ctr.training.metrics import (
    calibration_of_logits,
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
@given(scored_rows(), st.integers(0, 1000))
def test_integer_weight_is_repetition_and_order_does_not_matter(rows, seed):
    label, score, weight = rows
    times = weight.astype(int)
    many = (np.repeat(label, times), np.repeat(score, times))
    order = np.random.default_rng(seed).permutation(len(label))
    for metric in (roc_auc, log_loss, calibration_of_logits):
        once = metric(label, score, weight)
        assert metric(*many, None) == pytest.approx(once, abs=1e-12)
        assert metric(label[order], score[order], weight[order]) == pytest.approx(once, abs=1e-12)


def test_calibration_by_hand():
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
    logit = np.log(probability / (1 - probability))
    assert calibration_of_logits([0, 0, 1, 0, 1, 1], logit) == pytest.approx(2.4 / 3)
    weight = [1, 1, 1, 1, 1, 3]
    assert calibration_of_logits([0, 0, 1, 0, 1, 1], logit, weight) == pytest.approx(4.0 / 5)


def test_missing_class_and_no_rows_are_nan():
    assert np.isnan(roc_auc([1, 1], [0.2, 0.4]))
    assert np.isnan(roc_auc([], []))
    assert np.isnan(log_loss([], []))
    assert np.isnan(calibration_of_logits([0, 0], [0.2, 0.4]))


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
    for metric in (roc_auc, log_loss, calibration_of_logits):
        with pytest.raises(ValueError, match=message):
            metric(*rows)

"""What the report says of models in sentences: nothing good of one worse than a constant."""

from __future__ import annotations

import pytest

from spark_ctr.report.verdict import headline, interval, loss_warnings

CONSTANT = {"log_loss": 0.097, "auc": 0.5}


def _model(log_loss, auc=0.72, **changed):
    facts = {
        "auc": auc,
        "auc_error": 0.01,
        "log_loss": log_loss,
        "calibration_ratio": 1.02,
        "bytes": 1000,
        "microseconds_per_row": 2.0,
    }
    return facts | changed


def test_loss_calibration_and_then_cost():
    teacher = _model(0.08, auc=0.74, bytes=24_500, microseconds_per_row=12.4)
    assert headline({"teacher": teacher, "quantised": _model(0.085)}, CONSTANT) == (
        "The quantised model has a log loss of 0.0850, 12.4 % below that of the constant rate "
        "(0.0970), and an AUC of 0.7200 ± 0.0196; it promises 1.02 times the clicks that came. It "
        "is 24.5 times smaller and 6.20 times faster than the teacher for +0.0050 in log loss and "
        "−0.0200 in AUC."
    )


@pytest.mark.parametrize("loss", [0.097, 0.198])
def test_a_model_worse_than_a_constant_is_not_praised(loss):
    models = {"teacher": _model(0.5, bytes=24_500), "quantised": _model(loss)}
    said = headline(models, CONSTANT)
    assert said.startswith("The quantised model is worse than predicting the same rate")
    assert "0.097" in said and not {"times", "smaller", "faster", "AUC"} & set(said.split())
    warnings = loss_warnings(models, CONSTANT)
    assert len(warnings) == 2 and "teacher" in warnings[0] and "worse than none" in warnings[0]


def test_a_teacher_worse_than_a_constant_is_no_measure():
    said = headline({"teacher": _model(0.2, bytes=10**6), "quantised": _model(0.09)}, CONSTANT)
    assert "no measure" in said and "smaller" not in said
    assert len(loss_warnings({"teacher": _model(0.2), "quantised": _model(0.09)}, CONSTANT)) == 1


def test_what_cannot_be_told_from_chance_and_what_is_off_is_said():
    said = headline({"quantised": _model(0.09, auc=0.51, calibration_ratio=8.0)}, CONSTANT)
    assert "0.5100 ± 0.0196 (not to be told from chance)" in said
    assert "promises 8.00 times the clicks that came, which is off." in said


def test_without_a_constant_or_a_teacher_the_rest_is_said():
    assert headline({}, {}) is None
    assert loss_warnings({"teacher": _model(9.0)}, {}) == []
    said = headline({"student": _model(0.09, auc=None, calibration_ratio=None)}, CONSTANT)
    assert said == (
        "The student model has a log loss of 0.0900, 7.2 % below that of the constant rate "
        "(0.0970)."
    )
    assert headline({"teacher": _model(None, calibration_ratio=None)}, {}) == (
        "The teacher model has an AUC of 0.7200 ± 0.0196."
    )
    assert interval({"auc": 0.5}) == ""

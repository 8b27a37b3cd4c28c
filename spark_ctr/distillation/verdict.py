"""What distillation brought, in one line."""

from __future__ import annotations

import math
from typing import Any

# Less than this much AUC, or this share of the log loss, is noise.
_AUC, _LOSS = 0.0005, 0.002
# Share of the log loss that rows nobody saw must gain in a short trial.
_GAIN = 0.005


def best_figures(history: dict[str, Any]) -> dict[str, float] | None:
    """Return the figures of the validation rows in the best epoch; None without such rows.

    They are ``auc``, ``log_loss`` and ``calibration``, the ratio of predicted to seen clicks.
    """
    epochs = history.get("epochs") or []
    number = history.get("best_epoch", -1)
    if not 0 <= number < len(epochs):
        return None
    names = {"auc": "auc", "log_loss": "loss", "calibration": "calibration"}
    found = {name: epochs[number].get(f"valid_{key}") for name, key in names.items()}
    whole = all(value is not None and not math.isnan(value) for value in found.values())
    return found if whole else None


def pays(mixed: dict[str, float], without: dict[str, float]) -> bool:
    """Tell whether rows that nobody saw are worth their time, by the figures of a short trial."""
    return mixed["log_loss"] < (1 - _GAIN) * without["log_loss"]


def verdict(distilled: dict[str, float], labelled: dict[str, float]) -> str:
    """Compare a student with the same one from labels, on the rows that chose both their epochs."""
    auc = distilled["auc"] - labelled["auc"]
    loss = distilled["log_loss"] - labelled["log_loss"]
    figures = (
        f"AUC {distilled['auc']:.4f} against {labelled['auc']:.4f} of the same student from "
        f"labels, log loss {distilled['log_loss']:.4f} against {labelled['log_loss']:.4f}, "
        f"predicted clicks {distilled['calibration']:.3f} and {labelled['calibration']:.3f} times "
        "those seen, on the validation rows"
    )
    smaller = loss < -_LOSS * labelled["log_loss"]
    larger = loss > _LOSS * labelled["log_loss"]
    if auc > _AUC or (smaller and auc > -_AUC):
        return f"distillation brought {auc:+.4f} of AUC and {loss:+.4f} of log loss: {figures}"
    if auc < -_AUC or larger:
        return (
            f"distillation lost {auc:+.4f} of AUC and {loss:+.4f} of log loss: {figures}; take the "
            "student from labels, or a teacher that knows more"
        )
    return (
        f"distillation brought nothing beyond noise: {figures}; a teacher that knows no more than "
        "the student's own rows has nothing to give"
    )

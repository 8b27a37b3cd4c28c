"""Figures of an epoch on the validation rows, of one task or several."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from spark_ctr.training.metrics import calibration_of_logits, log_loss_of_logits, roc_auc

_MEASURES = {
    "valid_loss": log_loss_of_logits,
    "valid_auc": roc_auc,
    "valid_calibration": calibration_of_logits,
}
FIGURES = tuple(_MEASURES)


def figures(
    tasks: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    left_out: Collection[str] = (),
) -> dict[str, Any]:
    """Measure the scores of each task on the rows whose label is known.

    Parameters
    ----------
    tasks : mapping of str to (label, logit, weight), each [n]
    left_out : collection of str
        Tasks that the means leave out.

    Returns
    -------
    dict
        `FIGURES`; of several tasks their means over those that have the figure (nan if none has),
        and under "tasks" the figures of each.
    """
    each = {
        name: {figure: measure(*rows) for figure, measure in _MEASURES.items()}
        for name, rows in tasks.items()
    }
    if len(each) == 1:
        return next(iter(each.values()))
    means: dict[str, Any] = {}
    for figure in FIGURES:
        values = [f[figure] for name, f in each.items() if name not in left_out]
        values = [value for value in values if not np.isnan(value)]
        means[figure] = float(np.mean(values)) if values else float("nan")
    return means | {"tasks": each}

"""From probabilities to decisions: what each threshold catches, and which one to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

METRICS = ("f1", "youden", "rate")
_STEPS = 250


def operating_points(
    label: ArrayLike, probability: ArrayLike, weight: ArrayLike | None = None, steps: int = _STEPS
) -> dict[str, list[float]]:
    """Clicks and rows above each of some thresholds, from high to low.

    Parameters
    ----------
    label, probability, weight : array_like, [N]
        Labels 0 or 1; weights default to 1.
    steps : int
        Thresholds are thinned until two neighbours are a `steps`-th of the clicks or of the rows
        apart, so at most ``2 * steps`` of them stay, close together where clicks are.

    Returns
    -------
    dict
        threshold, clicks and rows: the weight of those with a larger probability. A threshold lies
        halfway between two probabilities that occur, the last one below all. Empty without rows.
    """
    y, p = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    w = np.ones_like(y) if weight is None else np.asarray(weight, dtype=np.float64)
    if not y.shape == p.shape == w.shape:
        raise ValueError(f"label, probability, weight differ: {y.shape}, {p.shape}, {w.shape}")
    usable = w > 0
    y, p, w = y[usable], p[usable], w[usable]
    if not y.size:
        return {"threshold": [], "clicks": [], "rows": []}
    values, group = np.unique(-p, return_inverse=True)
    values = -values
    clicks, rows = np.cumsum(np.bincount(group, w * y)), np.cumsum(np.bincount(group, w))
    below = np.append(values[1:], 0.0)
    threshold = (values + below) / 2
    threshold[-1] = np.nextafter(values[-1], -1.0)
    part = np.floor(steps * rows / rows[-1])
    if clicks[-1] > 0:
        part = part + np.floor(steps * clicks / clicks[-1])
    kept = np.append(part[1:] != part[:-1], True)
    kept[0] = True
    return {
        "threshold": np.clip(threshold[kept], 0.0, 1.0).tolist(),
        "clicks": clicks[kept].tolist(),
        "rows": rows[kept].tolist(),
    }


def best_threshold(points: Mapping[str, Any], metric: str = "f1", beta: float = 1.0) -> float:
    """Threshold of the points that a metric prefers; of equal ones the highest.

    Parameters
    ----------
    points : mapping
        From :func:`operating_points`.
    metric : {"f1", "youden", "rate"}
        "f1": F measure of the clicks; "youden": share of the clicks caught minus share of the
        others caught; "rate": as many predictions of a click as there are clicks.
    beta : float
        Of the F measure: how many times recall weighs what precision does.

    Raises
    ------
    ValueError
        For an unknown metric, a beta that is not positive, or rows without both labels.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(map(repr, METRICS))}: {metric!r}")
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be above 0 and finite: {beta!r}")
    threshold, clicks, rows = (
        np.array(points.get(key, ())) for key in ("threshold", "clicks", "rows")
    )
    if not rows.size or not 0 < clicks[-1] < rows[-1]:
        raise ValueError(
            "a threshold is chosen on validation rows with both labels, and there were none: keep "
            "some aside with validationFraction, validationIndicatorCol or validationTimeCol"
        )
    wanted, others = clicks[-1], rows[-1] - clicks[-1]
    if metric == "f1":
        goodness = (1 + beta**2) * clicks / (rows + beta**2 * wanted)
    elif metric == "youden":
        goodness = clicks / wanted - (rows - clicks) / others
    else:
        goodness = -np.abs(rows - wanted)
    return float(threshold[int(np.argmax(goodness))])

"""Recalibration: slope and offset of the logit, fitted on rows that were not trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spark_ctr.networks.output_bias import map_logits
from spark_ctr.training.metrics import log_loss_of_logits

if TYPE_CHECKING:
    from spark_ctr.networks.network import Network
    from spark_ctr.training.predictions import Predictions

Floats = NDArray[np.float64]
Line = tuple[float, float]

# With fewer rows of the rarer class, the fit would be mostly noise.
FEWEST_EVENTS = 10
# Standard deviations of the priors around slope 1 and offset 0. They weigh as much as a dozen
# clicks do, so that few clicks cannot ask for much, and many get what they ask for.
_PRIOR = np.array([0.5, 1.0])
# Of a score that says nothing or the contrary: its order stays, its size hardly counts.
_LEAST_SLOPE = 0.05
_FOLDS = 5
# Of more rows, so many drawn at random say enough, and take seconds.
_MOST_ROWS = 1 << 19
# Improvements of the log-likelihood (nats) below it are within the noise of choosing among maps.
_LEAST_GAIN = 2.0
_STEPS = 50


@dataclass(frozen=True)
class Recalibration:
    """Map of a logit, ``slope * logit + offset``, and the evidence for it.

    Attributes
    ----------
    slope, offset : float
        The slope is at least 0.05; 1 and 0 leave logits as they are.
    log_loss : float
        Of the rows (of at most 524,288 of them) as they came, nan without rows.
    cross_fitted : float
        Of the same rows, each mapped by what was fitted without its fold; `log_loss` where nothing
        was gained.
    events : float
        Rows of the rarer class that the weights leave, (sum w)^2 / sum w^2.
    """

    slope: float = 1.0
    offset: float = 0.0
    log_loss: float = float("nan")
    cross_fitted: float = float("nan")
    events: float = 0.0

    @property
    def applied(self) -> bool:
        """Whether the map changes anything."""
        return (self.slope, self.offset) != (1.0, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; nan as None."""
        values = {name: None if value != value else value for name, value in asdict(self).items()}
        return values | {"applied": self.applied}


def recalibrate(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> Recalibration:
    """Fit a slope and an offset, an offset alone, or nothing, whatever cross-fitting shows to gain.

    Slope and offset are the mode of the logistic likelihood times a weak prior. Each of five folds
    is scored by the maps fitted on the others; of nothing, an offset and both, a later one is
    chosen only if it gains at least two nats over the one before, in whatever order rows come.

    Parameters
    ----------
    label, logit, weight : array_like, [N]
        Labels 0 or 1, weights >= 0.

    Returns
    -------
    Recalibration

    References
    ----------
    Cox, "Two further applications of a model for binary regression", Biometrika 1958, for slope
    and offset; Platt, 1999; Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    y, z = (np.asarray(values, dtype=np.float64).ravel() for values in (label, logit))
    w = np.ones_like(y) if weight is None else np.asarray(weight, dtype=np.float64).ravel()
    kept = np.flatnonzero(w > 0)
    order = kept[np.lexsort((w[kept], y[kept], z[kept]))]
    y, z, w = y[order], z[order], w[order]
    events = min(_effective(w[y > 0]), _effective(w[y == 0]))
    if not np.isfinite(z).all():
        return Recalibration(events=events)
    drawn = np.random.default_rng(0).permutation(len(y))
    few = drawn < _MOST_ROWS
    y, z, w, fold = y[few], z[few], w[few], drawn[few] % _FOLDS
    plain = log_loss_of_logits(y, z, w)
    nothing = Recalibration(log_loss=plain, cross_fitted=plain, events=events)
    if events < FEWEST_EVENTS:
        return nothing
    rows = _effective(w)
    # Rows of a mean weight of 1 say as much as so many rows without weights.
    w = w * (rows / w.sum())
    chosen, best = nothing, plain
    for with_slope in (False, True):
        found = _cross_fitted(y, z, w, fold, with_slope)
        line = _fit(y, z, w, with_slope)
        loss = log_loss_of_logits(y, found, w)
        if (best - loss) * rows > _LEAST_GAIN:
            best = loss
            chosen = Recalibration(*line, log_loss=plain, cross_fitted=loss, events=events)
    return chosen


def recalibrate_network(network: Network, rows: Predictions) -> dict[str, Any]:
    """Map the logits of a network, in place, by what `recalibrate` finds for each task.

    Parameters
    ----------
    network : Network
    rows : Predictions
        Of the network, on rows that it was not trained on.

    Returns
    -------
    dict
        Of the `Recalibration`; of several tasks one by name.
    """
    lines = {}
    for task, name in enumerate(network.tasks):
        if name in network.derived_tasks:
            continue
        found = recalibrate(*rows.of_task(task))
        if found.applied:
            map_logits(network, found.slope, found.offset, task)
        lines[name] = found.to_dict()
    return lines if len(lines) > 1 else found.to_dict()


def _effective(weight: Floats) -> float:
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def _cross_fitted(
    y: Floats, z: Floats, w: Floats, fold: NDArray[np.int64], with_slope: bool
) -> Floats:
    mapped = np.empty_like(z)
    for k in range(_FOLDS):
        held = fold == k
        line = _fit(y[~held], z[~held], w[~held], with_slope)
        mapped[held] = line[0] * z[held] + line[1]
    return mapped


def _fit(y: Floats, z: Floats, w: Floats, with_slope: bool, slope: float = 1.0) -> Line:
    """Return slope and offset by Newton's method, which starts at `slope`."""
    p = _sigmoid(z)
    information = w * p * (1 - p)
    # Around this centre, slope and offset hardly depend on each other.
    centre = float(np.average(z, weights=information if information.sum() > 0 else w))
    x = np.stack([z - centre, np.ones_like(z)])
    free = np.array([with_slope, True])
    precision = np.where(free, 1 / np.square(_PRIOR), 0.0)
    prior = np.array([1.0, 0.0])
    line = np.array([slope, 0.0])

    def cost(at: Floats) -> float:
        u = centre + at @ x
        loss = np.sum(w * (np.logaddexp(0.0, u) - y * u))
        return float(loss + 0.5 * np.sum(precision * np.square(at - prior)))

    now = cost(line)
    for _ in range(_STEPS):
        p = _sigmoid(centre + line @ x)
        gradient = x @ (w * (p - y)) + precision * (line - prior)
        hessian = (x * (w * p * (1 - p))) @ x.T + np.diag(precision)
        step = np.zeros(2)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        size = 1.0
        while cost(line - size * step) > now and size > 1e-6:
            size /= 2
        line = line - size * step
        before, now = now, cost(line)
        if before - now < 1e-10 * max(1.0, abs(now)):
            break
    if line[0] < _LEAST_SLOPE:
        return _fit(y, z, w, False, _LEAST_SLOPE)
    return float(line[0]), float(centre + line[1] - line[0] * centre)


def _sigmoid(z: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * z))

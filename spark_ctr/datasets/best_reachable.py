"""The best metrics any model can reach on labels drawn from a known probability."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.datasets.click_log_config import CLICK_PROBABILITY

_STEPS_PER_LOGIT = 1000.0


def best_auc(log: DataFrame, probability: str = CLICK_PROBABILITY) -> float:
    """Return the AUC expected of scoring by the true probability: none can do better on average.

    Over rows i, j: sum of ``p_i (1 - p_j) ([p_i > p_j] + [p_i = p_j] / 2)`` divided by
    ``sum p_i * sum (1 - p_j)``, which uses the probabilities only and no drawn label.
    Probabilities within 0.001 in the logit count as tied.

    Parameters
    ----------
    log
        One row per example. For conversions given a click, filter to the clicks first.
    probability
        Column of true probabilities in (0, 1).

    Returns
    -------
    float
        In [0.5, 1].
    """
    p = F.col(probability)
    step = F.floor(F.log(p / (F.lit(1.0) - p)) * F.lit(_STEPS_PER_LOGIT)).alias("step")
    sums = log.groupBy(step).agg(F.sum(p), F.sum(F.lit(1.0) - p)).collect()
    table = np.array(sorted(tuple(row) for row in sums), dtype=np.float64)
    positive, negative = table[:, 1], table[:, 2]
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2.0) / (positive.sum() * negative.sum()))


def best_log_loss(log: DataFrame, probability: str = CLICK_PROBABILITY) -> float:
    """Return the log loss expected of predicting the true probability, in nats per row.

    Parameters
    ----------
    log
        One row per example.
    probability
        Column of true probabilities in (0, 1).
    """
    p = F.col(probability)
    q = F.lit(1.0) - p
    return float(log.agg(F.avg(-(p * F.log(p) + q * F.log(q)))).collect()[0][0])

"""Click logs for `benchmarks.hashing`: drawn with known effects, and TalkingData's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri

from spark_ctr.hashing import seeded_hash
from spark_ctr.training.metrics import roc_auc

# Exponent of each column's bounded Zipf law; the flatter ones bring most of the distinct values.
EXPONENTS = (1.1, 1.0, 0.9, 0.8, 0.8, 0.7)
EFFECT = 0.6  # standard deviation of a value's effect on the logit
INTERCEPT = -2.0
TALKING_DATA = "data/talkingdata/clicks_first_80k.parquet"


@dataclass(frozen=True, eq=False)
class Log:
    """Categorical rows, the training part first.

    Attributes
    ----------
    names : list of str
        Columns.
    hashes : list of int64 array
        Of each column's different values.
    values : int32 array [rows, columns]
        Position of each row's value in `hashes`.
    counts : list of int64 array
        How often each value occurs in the training part.
    label : float32 array [rows]
    train_rows : int
    best : dict of str to float
        AUC on the test part of scoring by what is known of the probability, if it is.
    """

    names: list[str]
    hashes: list[np.ndarray]
    values: np.ndarray
    counts: list[np.ndarray]
    label: np.ndarray
    train_rows: int
    best: dict[str, float]

    @property
    def distinct(self) -> list[int]:
        """Different values of each column's training part."""
        return [int((counts > 0).sum()) for counts in self.counts]

    @property
    def unseen(self) -> float:
        """Share of the test part's values that the training part does not have."""
        test = self.values[self.train_rows :]
        return float(np.mean([(self.counts[c][v] == 0).mean() for c, v in enumerate(test.T)]))


def zipf_log(train_rows: int, test_rows: int, universe: int, seed: int) -> Log:
    """Draw a log whose click probability is known.

    A value is an integer, so its hash is `seeded_hash` of the integer, a mix of its bits; hashing
    text costs more and gives the same kind of number. The logit of a click is the sum of an
    intercept and a normal effect of each column's value, which is drawn from another hash of it.

    Parameters
    ----------
    train_rows, test_rows : int
    universe : int
        Values that a column can have.
    seed : int
        Of the rows, the effects and the hashes.
    """
    random = np.random.default_rng(seed)
    rows = train_rows + test_rows
    logit, seen_logit = np.full(rows, INTERCEPT), np.full(rows, INTERCEPT)
    values = np.empty((rows, len(EXPONENTS)), np.int32)
    hashes, counts = [], []
    for column, exponent in enumerate(EXPONENTS):
        ranks = _zipf(random.random(rows), exponent, universe)
        different, values[:, column] = np.unique(ranks, return_inverse=True)
        hashed = seeded_hash(different, 100 * seed + column)
        effect = _normal(seeded_hash(hashed, ~seed)) * EFFECT
        count = np.bincount(values[:train_rows, column], minlength=len(different))
        logit += effect[values[:, column]]
        seen_logit += np.where(count > 0, effect, 0)[values[:, column]]
        hashes.append(hashed)
        counts.append(count)
    label = (random.random(rows) < expit(logit)).astype(np.float32)
    test = slice(train_rows, None)
    best = {
        "true probability": roc_auc(label[test], logit[test]),
        "true effects of values seen in training": roc_auc(label[test], seen_logit[test]),
    }
    names = [f"column {c}" for c in range(len(EXPONENTS))]
    return Log(names, hashes, values, counts, label, train_rows, best)


def talking_data(seed: int) -> Log | str:
    """Read the first 80,000 clicks of TalkingData, the last fifth for testing; or say why not.

    Parameters
    ----------
    seed : int
        Of the hashes.
    """
    beside = Path(__file__).parents[2] / "shared"
    file = Path(os.environ.get("SPARK_CTR_SHARED", beside)) / TALKING_DATA
    if not file.is_file():
        return "TalkingData may not be passed on and is not beside the repository"
    clicks = pd.read_parquet(file).sort_values("click_time", kind="stable")
    names = ["ip", "app", "device", "os", "channel"]
    train_rows = len(clicks) * 4 // 5
    values = np.empty((len(clicks), len(names)), np.int32)
    hashes, counts = [], []
    for column, name in enumerate(names):
        different, values[:, column] = np.unique(clicks[name], return_inverse=True)
        hashes.append(seeded_hash(different, 100 * seed + column))
        count = np.bincount(values[:train_rows, column], minlength=len(different))
        counts.append(count)
    label = clicks["is_attributed"].to_numpy(np.float32)
    return Log(names, hashes, values, counts, label, train_rows, {})


def _zipf(uniform: np.ndarray, exponent: float, values: int) -> np.ndarray:
    """Return ranks in [1, values], int64, by the inverse of a bounded Pareto distribution."""
    if exponent == 1:
        return np.exp(uniform * np.log(values + 1.0)).astype(np.int64)
    power = 1 - exponent
    return ((1 + uniform * ((values + 1.0) ** power - 1)) ** (1 / power)).astype(np.int64)


def _normal(hashes: np.ndarray) -> np.ndarray:
    """Return a standard normal number for each 64-bit hash."""
    return ndtri(((hashes >> 12) + 0.5) / 2.0**52 + 0.5)

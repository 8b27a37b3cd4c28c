"""Click logs for `benchmarks.selection`: one with planted columns, Frappe, TalkingData, Adult."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from spark_ctr.datasets import bundled_path


@dataclass(frozen=True, eq=False)
class Log:
    """Categorical rows with labels.

    Attributes
    ----------
    columns : list of str
    train, test : int64 array, shape (rows, columns)
        Codes of the values, >= 0.
    train_label, test_label : int8 array, shape (rows,)
    useless : frozenset of str
        Columns planted as useless or as a copy; empty for real data.
    test_probability : float64 array, shape (rows,), optional
        True probabilities of the test rows, where they are known.
    """

    columns: list[str]
    train: np.ndarray
    train_label: np.ndarray
    test: np.ndarray
    test_label: np.ndarray
    useless: frozenset[str] = frozenset()
    test_probability: np.ndarray | None = None

    @property
    def distinct(self) -> int:
        """Different values of the training rows, over all columns."""
        return sum(len(np.unique(codes)) for codes in self.train.T)

    def first(self, rows: int) -> Log:
        """Return the log with at most so many rows of either part."""
        known = self.test_probability
        return replace(
            self,
            test_probability=None if known is None else known[:rows],
            train=self.train[:rows],
            train_label=self.train_label[:rows],
            test=self.test[:rows],
            test_label=self.test_label[:rows],
        )


# Values, exponent of their Zipf law, standard deviation of a value's effect on the logit.
_PLANTED = {
    "user": (20_000, 1.0, 0.7),
    "item": (5_000, 1.1, 0.8),
    "site": (500, 1.0, 0.5),
    "category": (30, 0.8, 0.3),
    "device": (8, 0.8, 0.3),
    "cookie": (30_000, 0.7, 0.0),
    "trace": (3_000, 1.2, 0.0),
    "referrer": (1_000, 1.0, 0.0),
    "shard": (64, 0.0, 0.0),
    "left": (40, 0.5, 0.0),
    "right": (40, 0.5, 0.0),
}
_PAIR_EFFECT = 0.8
_PARITY_EFFECT = 0.8
_INTERCEPT = -3.0


def planted(seed: int, rows: int, *, in_threes: bool = False) -> Log:
    """Draw a log whose useless columns are known.

    ``left`` and ``right`` say nothing alone and much together. ``cookie`` (rare values), ``trace``,
    ``referrer`` and ``shard`` (frequent values) are useless, ``site_name`` repeats ``site``.

    Parameters
    ----------
    seed : int
        Of the rows; the effects are always the same.
    rows : int
        Training rows; half as many to test.
    in_threes : bool
        Three more columns that say nothing alone or in pairs, and much in threes.
    """
    rng, truth = np.random.default_rng([7, seed]), np.random.default_rng(0)
    everything = rows + rows // 2
    logit = np.full(everything, _INTERCEPT)
    codes = {}
    for name, (values, exponent, effect) in _PLANTED.items():
        weight = np.arange(1, values + 1) ** -exponent
        codes[name] = rng.choice(values, everything, p=weight / weight.sum())
        logit += (truth.standard_normal(values) * effect)[codes[name]]
    logit += _pairs(truth)[codes["left"], codes["right"]]
    codes["site_name"] = truth.permutation(500)[codes["site"]]
    if in_threes:
        bits = rng.integers(0, 2, (3, everything))
        codes |= {f"bit {i}": bit for i, bit in enumerate(bits)}
        logit += _PARITY_EFFECT * (2 * (bits.sum(0) % 2) - 1)
    label = (rng.random(everything) < expit(logit)).astype(np.int8)
    table = np.stack(list(codes.values()), axis=1)
    useless = {name for name, (_, _, effect) in _PLANTED.items() if effect == 0}
    useless = useless - {"left", "right"} | {"site_name"}
    return Log(
        list(codes), table[:rows], label[:rows], table[rows:], label[rows:], frozenset(useless)
    )


def _pairs(truth: np.random.Generator) -> np.ndarray:
    """Effects of pairs whose mean over the rows of either column's values is 0."""
    sides = []
    for name in ("left", "right"):
        values, exponent, _ = _PLANTED[name]
        weight = np.arange(1, values + 1) ** -exponent
        sides.append(weight / weight.sum())
    pairs = truth.standard_normal((len(sides[0]), len(sides[1]))) * _PAIR_EFFECT
    pairs -= sides[0] @ pairs
    return pairs - (pairs @ sides[1])[:, None]


def adult() -> Log:
    """Bundled Adult data, official split, each column's numbers taken as values too."""
    train, test = (pd.read_parquet(bundled_path("adult", split)) for split in ("train", "test"))
    return _of_frames(train, test, "income")


def frappe() -> Log | str:
    """Read Frappe's train and valid rows, or say why not; its train negatives are reconstructed."""
    folder = shared("frappe")
    if folder is None:
        return "Frappe may not be passed on and is not beside the repository"
    train, test = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "valid"))
    return _of_frames(train, test, "click")


def talking_data() -> Log | str:
    """Read TalkingData's first 80,000 clicks, the last fifth to test, or say why not."""
    folder = shared("talkingdata")
    if folder is None:
        return "TalkingData may not be passed on and is not beside the repository"
    clicks = pd.read_parquet(folder / "clicks_first_80k.parquet")
    clicks = clicks.sort_values("click_time", kind="stable").drop(columns="click_time")
    split = len(clicks) * 4 // 5
    return _of_frames(clicks[:split], clicks[split:], "is_attributed")


def shared(name: str) -> Path | None:
    """Return the folder of data that may not be passed on, None where it is not there."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SPARK_CTR_SHARED", beside)) / "data" / name
    return folder if folder.is_dir() else None


def _of_frames(train: pd.DataFrame, test: pd.DataFrame, label: str) -> Log:
    names = [name for name in train if name != label]
    both = pd.concat([train, test])
    # a missing value is one more value
    codes = np.stack([pd.factorize(both[n], use_na_sentinel=False)[0] for n in names], axis=1)
    first, second = train[label].to_numpy(np.int8), test[label].to_numpy(np.int8)
    return Log(names, codes[: len(train)], first, codes[len(train) :], second)

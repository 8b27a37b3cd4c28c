"""Click logs for `benchmarks.selection` whose probabilities are known, split by time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.frame import spark_session
from benchmarks.selection_logs import Log
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.datasets.click_log_config import (
    CLICK,
    CLICK_PROBABILITY,
    TIMESTAMP,
    Identifier,
)

# Standard deviation of the effects on the click logit: of sites, of ads, of users.
WORLDS = {
    "strong": (0.5, 0.6, 0.8),
    "medium": (0.4, 0.5, 0.5),
    "weak": (0.2, 0.3, 0.2),
    "users": (0.1, 0.2, 0.8),
    "ads": (0.3, 0.7, 0.0),
}
CLICK_RATE = 0.02


def world(name: str, truth: int) -> ClickLogConfig:
    """Return one of `WORLDS`, its effects drawn by the seed `truth`."""
    site, ad, user = WORLDS[name]
    return ClickLogConfig(
        identifiers=(
            Identifier("site", 1_000, 1.1, effect=site),
            Identifier("ad", 5_000, 1.0, effect=ad, turnover=0.2),
            Identifier("user", 50_000, 0.8, effect=user, turnover=0.1),
        ),
        numerics=(),
        interactions=(),
        constants=(),
        click_rate=CLICK_RATE,
        truth_seed=truth,
    )


def clicks(master: str, rows: int, name: str, truth: int) -> Log:
    """Draw a log of so many rows, the last fifth of them, by time, to test.

    Parameters
    ----------
    master : str
        Of Spark.
    rows : int
    name : str
        Of `WORLDS`.
    truth : int
        Seed of effects and rows.
    """
    config = world(name, truth)
    spark = spark_session(master, "spark_ctr selection")
    names = [column.name for column in config.identifiers]
    drawn = click_log(spark, rows, seed=truth, partitions=8, config=config)
    # Seconds, as pandas would take times in the session's zone.
    seconds = drawn[TIMESTAMP].cast("double").alias(TIMESTAMP)
    frame = drawn.select(seconds, *names, CLICK, CLICK_PROBABILITY).toPandas()
    frame = frame.sort_values(TIMESTAMP, kind="stable")
    codes = np.stack([pd.factorize(frame[n], sort=True)[0] for n in names], axis=1)
    label, truth_of = frame[CLICK].to_numpy(np.int8), frame[CLICK_PROBABILITY].to_numpy()
    split = rows * 4 // 5
    return Log(
        names,
        codes[:split],
        label[:split],
        codes[split:],
        label[split:],
        test_probability=truth_of[split:],
    )

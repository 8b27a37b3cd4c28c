"""A drawn log of auctions whose probabilities are known, in parts by time."""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.frame import spark_session
from benchmarks.model_zoo_logs import Log, encoded
from spark_ctr.datasets import ClickLogConfig, click_log
from spark_ctr.datasets.click_log_config import BID, CLICK, CLICK_PROBABILITY, REQUEST_ID, SLOT
from spark_ctr.feature import ClickLogCleaner
from spark_ctr.jvm import session_settings

# Days 7 and 8 are a weekend, so that the days to calibrate on and those judged are alike.
CONFIG = ClickLogConfig(candidates=8, start=datetime.date(2026, 1, 3))
ADVERTISER = "advertiser_id"
# Days of the log, from 0, of each part: the last day to train on chooses the epoch.
DAYS = {"train": (0, 9), "valid": (9, 10), "calibration": (10, 12), "judged": (12, 14)}
SHARES = {"train": 1.0, "valid": 0.2, "calibration": 1.0, "judged": 2.0}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows of the log's part "test": to calibrate on, or judged.

    Attributes
    ----------
    auction, advertiser : str array [rows]
    slot : int64 array [rows]
    bid, true, click : float64 array [rows]
    judged : bool array [rows]
    """

    auction: np.ndarray
    advertiser: np.ndarray
    slot: np.ndarray
    bid: np.ndarray
    true: np.ndarray
    click: np.ndarray
    judged: np.ndarray


def drawn_auctions(master: str, rows: int, seed: int) -> tuple[Log, Candidates]:
    """Draw about so many rows to train on, and the other parts of `SHARES`, and encode them.

    The rows to calibrate on and those that are judged are the log's "test", in one.
    """
    spark = spark_session(master, "spark_ctr auctions", session_settings())
    parts = {
        name: _part(spark, round(rows * SHARES[name]), 10 * seed + number, *days)
        for number, (name, days) in enumerate(DAYS.items())
    }
    judged = parts.pop("judged").withColumn("judged", F.lit(True))
    calibration = parts.pop("calibration").withColumn("judged", F.lit(False))
    parts["test"] = calibration.unionByName(judged).persist()
    cleaner = ClickLogCleaner(
        categoricalCols=[
            *(column.name for column in CONFIG.identifiers),
            *(name for name, _ in CONFIG.constants),
            SLOT,
        ],
        numericCols=[column.name for column in CONFIG.numerics],
        timestampCol="timestamp",
    )
    log = encoded(cleaner, parts, CLICK, CLICK_PROBABILITY)
    names = [REQUEST_ID, ADVERTISER, SLOT, BID, CLICK_PROBABILITY, CLICK, "judged"]
    found = parts["test"].select(*names).toPandas()
    for part in parts.values():
        part.unpersist()
    columns = [found[name].to_numpy(str) for name in names[:2]]
    columns += [found[SLOT].to_numpy(np.int64)]
    columns += [found[name].to_numpy(np.float64) for name in names[3:6]]
    return log, Candidates(*columns, found["judged"].to_numpy(bool))


def _part(spark: SparkSession, rows: int, seed: int, first: int, end: int) -> DataFrame:
    """Draw the rows of some days."""
    more = rows * CONFIG.days // (end - first)
    start = F.lit(calendar.timegm(CONFIG.start.timetuple()))
    log = click_log(spark, more, seed=seed, partitions=4, config=CONFIG)
    day = (F.unix_seconds("timestamp") - start) / 86_400
    return log.filter((day >= first) & (day < end)).persist()

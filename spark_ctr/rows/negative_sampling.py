"""A share of the training rows with label 0, and what leaving out the others does to log-odds."""

from __future__ import annotations

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

DROPPED = "dropped"


def copy_number() -> Column:
    """Return the number of a row among those of equal place, from 1, ordered by values and weight.

    What is drawn by the content of a row is drawn for each copy of it: if all copies of a frequent
    row with label 0 went one way, what is left would have another click rate.
    """
    alike = Window.partitionBy("place", "validation", "reason")
    return F.row_number().over(alike.orderBy("values", "weight"))


def sample_negatives(rows: DataFrame, rate: float) -> DataFrame:
    """Move a share of 1 - `rate` of the training rows with label 0 to the split "dropped".

    What moves is drawn by the rows' content and copy, so the rows that stay are the same however
    the dataset is partitioned. Moved rows are emptied: they are counted, but cost no space.

    Parameters
    ----------
    rows : DataFrame
        With the columns label, split ("train", ...), file, place and values (hashes of the row of
        the log and of what is written of it) and copy.
    rate : float
        In (0, 1].
    """
    if rate == 1:
        return rows
    drawn = F.shiftrightunsigned(F.xxhash64("place", "copy", F.lit("negative sampling")), 11)
    moved = (F.col("split") == "train") & (F.col("label") == 0) & (drawn >= int(rate * 2**53))
    kept = ("split", "file", "place", "values")
    emptied = [name for name in rows.columns if name not in kept]
    return rows.withColumn("moved", moved).select(
        *[F.when(~F.col("moved"), F.col(name)).alias(name) for name in emptied],
        F.when(F.col("moved"), DROPPED).otherwise(F.col("split")).alias("split"),
        *kept[1:],
    )


def logit_shift(rate: float) -> float:
    """Return what sampling adds to the log-odds of a click: -log(rate).

    A network whose loss sees its logits plus this on the sampled rows predicts, without it, the
    click rate of all rows. It is the correction q = p / (p + (1 - p) / rate), made in training.

    References
    ----------
    He et al., "Practical lessons from predicting clicks on ads at Facebook", ADKDD 2014, section
    6.3; King and Zeng, "Logistic regression in rare events data", 2001, section 4.1.
    """
    return -math.log(rate)

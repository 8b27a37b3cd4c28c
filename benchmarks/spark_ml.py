"""The peer: what Spark's own ML library offers for the same click log."""

from __future__ import annotations

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import FeatureHasher, SQLTransformer, StringIndexer

SPARK_ML = "pyspark.ml"

_CATEGORICAL = [
    "user_id",
    "ad_id",
    "advertiser_id",
    "site_id",
    "category",
    "device",
    "region",
    "browser",
    "ab_bucket",
    "slot",
    "hour",
    "weekday",
]
_NUMERIC = ["log_price", "age_or_mean", "log_page_load"]
# What one would write by hand for the generated log: the right transforms, and no useless column
# but ab_bucket and browser, which the log's owner could not tell from the others.
_PREPARE = """
SELECT *,
    hour(timestamp) AS hour, weekday(timestamp) AS weekday,
    ln(price) AS log_price, coalesce(age, 39.0D) AS age_or_mean,
    ln(page_load_seconds) AS log_page_load
FROM __THIS__
"""


def logistic_regression(label: str, max_iter: int) -> Pipeline:
    """Return hashed one-hot features of `spark_ctr.datasets.click_log` and logistic regression.

    Parameters
    ----------
    label
        Label column.
    max_iter
        Most iterations of L-BFGS.
    """
    return Pipeline(
        stages=[
            SQLTransformer(statement=_PREPARE),
            FeatureHasher(
                inputCols=_CATEGORICAL + _NUMERIC,
                categoricalCols=_CATEGORICAL,
                numFeatures=1 << 18,
                outputCol="features",
            ),
            LogisticRegression(labelCol=label, maxIter=max_iter, regParam=1e-5),
        ]
    )


def string_indexer(columns: list[str]) -> StringIndexer:
    """Return the stage that gives every value of some columns a number, unseen ones included."""
    return StringIndexer(
        inputCols=columns,
        outputCols=[f"{name}_index" for name in columns],
        handleInvalid="keep",
    )

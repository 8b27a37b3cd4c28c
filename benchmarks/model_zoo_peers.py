"""Peers of `benchmarks.model_zoo`: scikit-learn's gradient boosting and logistic regression.

They read the columns that `ClickLogCleaner` makes: cleaned categories, hour and weekday, quantile
buckets, standardised logarithms of the numbers. Their settings are chosen by the log loss on a
tenth of the training rows, then they train on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

NATIVE = 255  # most categories that the trees take as such

Scored = tuple[np.ndarray, np.ndarray]  # labels or their probabilities, and logits


def linear(train: pd.DataFrame, test: pd.DataFrame, quick: bool, seed: int) -> Scored:
    """One-hot logistic regression over categories and quantile buckets, and the numbers."""
    train, test, categories, numbers = _features(train, test)
    features = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), categories), ("passthrough", numbers)
    )
    model = make_pipeline(features, LogisticRegression(max_iter=300))
    return _chosen(
        model, {"logisticregression__C": [0.03, 0.1, 0.3, 1.0]}, train, test, quick, seed
    )


def boosted(train: pd.DataFrame, test: pd.DataFrame, quick: bool, seed: int) -> Scored:
    """Gradient boosting; columns of many categories are target-encoded across folds."""
    train, test, categories, numbers = _features(train, test)
    categories = [name for name in categories if not name.endswith("_bucket_clean")]
    many = [name for name in categories if train[name].nunique() > NATIVE - 1]
    few = [name for name in categories if name not in many]
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=NATIVE - 1)
    features = make_column_transformer(
        (ordinal, few),
        (TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=seed)), many),
        ("passthrough", numbers),
    )
    trees = HistGradientBoostingClassifier(
        categorical_features=list(range(len(few))), max_iter=300, random_state=seed
    )
    grid: dict[str, list[Any]] = {
        "histgradientboostingclassifier__learning_rate": [0.05, 0.1],
        "histgradientboostingclassifier__max_leaf_nodes": [7, 15, 31],
    }
    return _chosen(make_pipeline(features, trees), grid, train, test, quick, seed)


PEERS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, bool, int], Scored]] = {
    "one-hot LR": linear,
    "HistGradientBoosting": boosted,
}


def _features(
    train: pd.DataFrame, test: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Rows without missing values, and the names of the categories and the numbers."""
    names = [name for name in train if name != "label"]
    numbers = [n for n in names if n.removesuffix("_clean") + "_bucket_clean" in names]
    categories = [name for name in names if name not in numbers]
    whole = []
    for rows in (train, test):
        rows = rows.copy()
        rows[categories] = rows[categories].astype(object).where(rows[categories].notna(), "none")
        rows[categories] = rows[categories].astype(str)
        whole.append(rows)
    return whole[0], whole[1], categories, numbers


def _chosen(
    model: Any,
    grid: dict[str, list[Any]],
    train: pd.DataFrame,
    test: pd.DataFrame,
    quick: bool,
    seed: int,
) -> Scored:
    if quick:
        grid = {name: values[:1] for name, values in grid.items()}
    tenth = StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
    search = GridSearchCV(model, grid, scoring="neg_log_loss", cv=tenth)
    found = search.fit(train.drop(columns="label"), train["label"].to_numpy())
    logit = found.decision_function(test.drop(columns="label"))
    return test["label"].to_numpy(), np.asarray(logit, np.float64)

"""Click logs to try the package on: a synthetic one with a known truth, and two real ones."""

from spark_ctr.datasets.best_reachable import best_auc, best_log_loss
from spark_ctr.datasets.bundled import adult, bundled_path, open_bandit
from spark_ctr.datasets.click_log import click_log
from spark_ctr.datasets.click_log_config import (
    TRUTH_COLUMNS,
    ClickLogConfig,
    ContextEffect,
    Identifier,
    Interaction,
    Numeric,
)

__all__ = [
    "TRUTH_COLUMNS",
    "ClickLogConfig",
    "ContextEffect",
    "Identifier",
    "Interaction",
    "Numeric",
    "adult",
    "best_auc",
    "best_log_loss",
    "bundled_path",
    "click_log",
    "open_bandit",
]

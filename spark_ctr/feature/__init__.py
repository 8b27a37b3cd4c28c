"""Feature stages: cleaning, power-law selection, hashed embedding ids."""

from spark_ctr.feature.click_log_cleaner import ClickLogCleaner, ClickLogCleanerModel
from spark_ctr.feature.column_roles import ColumnRole, infer_roles
from spark_ctr.feature.hashed_embedding_encoder import (
    HashedEmbeddingEncoder,
    HashedEmbeddingEncoderModel,
)
from spark_ctr.feature.power_law_feature_selector import (
    PowerLawFeatureSelector,
    PowerLawFeatureSelectorModel,
)
from spark_ctr.stage.times import read_time

__all__ = [
    "ClickLogCleaner",
    "ClickLogCleanerModel",
    "ColumnRole",
    "HashedEmbeddingEncoder",
    "HashedEmbeddingEncoderModel",
    "PowerLawFeatureSelector",
    "PowerLawFeatureSelectorModel",
    "infer_roles",
    "read_time",
]

"""Readers that turn Parquet files into shuffled batches of tensors for training."""

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.feed import Feed, open_feed

__all__ = ["Batch", "Feed", "open_feed"]

"""Readers that turn Parquet files into shuffled batches of tensors for training."""

from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.feeds.feed import Feed, open_feed
from spark_ctr.training.feeds.unlabelled_feed import UnlabelledFeed, open_training_feed

__all__ = ["Batch", "Feed", "UnlabelledFeed", "open_feed", "open_training_feed"]

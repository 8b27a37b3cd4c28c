"""Where users' own networks found `EmbeddingTables` before it was one of `networks.layers`."""

from spark_ctr.networks.layers.embedding import EmbeddingTables

__all__ = ["EmbeddingTables"]

"""Click models in PyTorch."""

from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import MULTI_TASK_NETWORKS, NETWORKS, build_network
from spark_ctr.tables import PADDING, Inputs, Table

__all__ = [
    "MULTI_TASK_NETWORKS",
    "NETWORKS",
    "PADDING",
    "EmbeddingTables",
    "Inputs",
    "Network",
    "Table",
    "build_network",
    "context_settings",
    "row_context",
]

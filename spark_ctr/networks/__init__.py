"""Click models in PyTorch."""

from spark_ctr.networks.inputs import PADDING, Inputs, Table
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import NETWORKS, build_network

__all__ = ["NETWORKS", "PADDING", "Inputs", "Network", "Table", "build_network"]

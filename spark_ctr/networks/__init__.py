"""Click models in PyTorch."""

from spark_ctr.networks.inputs import Inputs, Table
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import NETWORKS, build_network

__all__ = ["NETWORKS", "Inputs", "Network", "Table", "build_network"]

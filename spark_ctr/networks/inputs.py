"""Where users' own networks found `Inputs` before there was `spark_ctr.tables`."""

from spark_ctr.tables import PADDING, Inputs, Table

__all__ = ["PADDING", "Inputs", "Table"]

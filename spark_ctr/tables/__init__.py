"""What the columns of a model are: tables of ids and numeric columns (no torch, no Spark)."""

from spark_ctr.tables.column_plan import ColumnPlan
from spark_ctr.tables.ids import PADDING, IdRange, is_valid_id
from spark_ctr.tables.inputs import Inputs
from spark_ctr.tables.table import POOLINGS, UNCOMPARED, Table

__all__ = [
    "PADDING",
    "POOLINGS",
    "UNCOMPARED",
    "ColumnPlan",
    "IdRange",
    "Inputs",
    "Table",
    "is_valid_id",
]

"""Stable hashes of categorical values, and the embedding rows they stand for (numpy only).

The same numbers come from Spark's built-in functions, from spark_ctr's JVM functions and from
here; ``tests/hashing/golden.json`` holds all three to them.
"""

from spark_ctr.tables import PADDING

from .plan import ColumnRows, row_plan
from .tail import SCHEMES, TailHash
from .value_hash import seeded_hash, value_hash, value_hashes
from .vocabulary import Vocabulary

__all__ = [
    "PADDING",
    "SCHEMES",
    "ColumnRows",
    "TailHash",
    "Vocabulary",
    "row_plan",
    "seeded_hash",
    "value_hash",
    "value_hashes",
]

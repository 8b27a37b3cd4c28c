"""A word about columns that lost the mark by which stages find their inputs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_ctr.stage.columns import metadata_of

logger = logging.getLogger("spark_ctr")

_SUFFIX = "_clean"  # ClickLogCleaner's default
_TYPES: dict[str, tuple[type, ...]] = {
    "categorical": (T.StringType, T.ArrayType),
    "numeric": (T.DoubleType, T.FloatType),
}


def tell_of_unmarked(dataset: DataFrame, kinds: Sequence[str], stage: str) -> None:
    """Warn of columns with ClickLogCleaner's suffix that a stage does not find as its inputs.

    ``na.fill`` and the like make new columns without the metadata of those that they replace. Of
    categorical ones it is silent where PowerLawFeatureSelector has been, which has said it.

    Parameters
    ----------
    dataset : DataFrame
    kinds : sequence of {"categorical", "numeric"}
        Kinds of the inputs that no Param names.
    stage : str
        Name of the stage.
    """
    planned = any("plan" in metadata_of(found) for found in dataset.schema.fields)
    told = {"categorical"} if planned else set()
    types = tuple(one for kind in kinds if kind not in told for one in _TYPES[kind])
    unmarked = [
        found.name
        for found in dataset.schema.fields
        if found.name.endswith(_SUFFIX)
        and isinstance(found.dataType, types)
        and not metadata_of(found).get("kind")
    ]
    if unmarked:
        logger.warning(
            "%s leaves out %s: they look like ClickLogCleaner's but lack its mark in their "
            "metadata, which na.fill, na.replace and the like do not keep; change columns before "
            "the cleaner, or name the inputs in inputCols and numericCols",
            stage,
            ", ".join(map(repr, unmarked)),
        )

"""The two real data sets that come with the package; see ``data/README.md`` for their licences."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

_DATA = Path(__file__).resolve().parent / "data"
_SPLITS = {"adult": ("train", "test"), "open_bandit": ("impressions", "items")}


def bundled_path(name: str, split: str) -> Path:
    """Return the path of a bundled Parquet file on this machine.

    Parameters
    ----------
    name
        ``"adult"`` or ``"open_bandit"``.
    split
        ``"train"`` or ``"test"`` of adult, ``"impressions"`` or ``"items"`` of open_bandit.

    Raises
    ------
    ValueError
        If there is no such data set or split.
    FileNotFoundError
        If the package was installed without its data files.
    """
    if name not in _SPLITS:
        raise ValueError(f"no bundled data set {name!r}; choose from {sorted(_SPLITS)}")
    if split not in _SPLITS[name]:
        raise ValueError(f"no split {split!r} of {name}; choose from {list(_SPLITS[name])}")
    path = _DATA / name / f"{split}.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; reinstall spark_ctr with its package data")
    return path


def adult(spark: SparkSession, split: str = "train") -> DataFrame:
    """Return the UCI Adult census data, one row per person (official split).

    Becker and Kohavi (1996), doi 10.24432/C5XW20, CC BY 4.0.

    The file is read where it is installed: Spark's driver and executors (the server's, with
    Connect) must see the package at the same local path. Where they do not, copy the file of
    `bundled_path` to storage they share and read it from there with ``spark.read.parquet``.

    Parameters
    ----------
    spark
        Classic or Connect session.
    split
        ``"train"`` (32,561 rows) or ``"test"`` (16,281 rows).

    Returns
    -------
    DataFrame
        8 string columns (null where unknown), 6 bigint columns and the label ``income``
        (tinyint, 1 if above 50,000 dollars a year).

    Raises
    ------
    ValueError
        If there is no such split.
    """
    return _read(spark, "adult", split)


def open_bandit(spark: SparkSession, split: str = "impressions") -> DataFrame:
    """Return the small version of the Open Bandit Dataset, a real fashion recommendation log.

    ZOZO, Inc.; Saito et al. (2020), CC BY 4.0. With 287 clicks it is too small to learn from:
    it serves to try slots, timestamps and logged policies. See `adult` on where the file must be
    visible.

    Parameters
    ----------
    spark
        Classic or Connect session.
    split
        ``"impressions"`` (60,000 rows in the order of time) or ``"items"`` (160 rows, item
        features by ``campaign`` and ``item_id``).

    Returns
    -------
    DataFrame
        Impressions: ``campaign``, ``policy`` ("random" or "bts"), ``timestamp``, ``item_id``,
        ``position`` (slot, 1 to 3), ``click`` (tinyint, 0 or 1), ``propensity_score``,
        ``user_feature_0`` to ``user_feature_3``, ``affinity_shown``.
        Items: ``campaign``, ``item_id``, ``item_feature_0`` to ``item_feature_3``.

    Raises
    ------
    ValueError
        If there is no such split.
    """
    return _read(spark, "open_bandit", split)


def _read(spark: SparkSession, name: str, split: str) -> DataFrame:
    # The scheme keeps a cluster whose default file system is remote from looking there; it is
    # not Path.as_uri(), whose percent escapes Hadoop takes for part of the name.
    return spark.read.parquet(f"file://{bundled_path(name, split).as_posix()}")

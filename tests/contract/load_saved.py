"""Load saved stages in a process of its own and check them against what their maker wrote down.

Usage: python load_saved.py FOLDER, with FOLDER/manifest.json and SPARK_REMOTE.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]


def described(stage: Any) -> dict[str, Any]:
    """Class, uid and Params of a stage, nested stages included, as JSON."""
    params = {}
    for declared in stage.params:
        if stage.isDefined(declared):
            value = stage.getOrDefault(declared)
            params[declared.name] = [
                stage.isSet(declared),
                described(value) if hasattr(value, "params") else value,
            ]
    return {"class": type(stage).__name__, "uid": stage.uid, "params": params}


def main(folder: str) -> None:
    """Load and compare; an AssertionError names the stage that differs."""
    from click_rows import assert_same_rows, rows_of
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    manifest = json.loads(Path(folder, "manifest.json").read_text())
    for entry in manifest:
        module, name = entry["class"].split(":")
        stage = getattr(importlib.import_module(module), name).load(entry["path"])
        assert json.loads(json.dumps(described(stage))) == entry["described"], entry["path"]
        if "output" in entry:
            found = rows_of(stage.transform(spark.read.parquet(entry["input"])))
            # As JSON, which has no times, holds them.
            found = json.loads(json.dumps(found, default=str))
            assert_same_rows(found, json.loads(Path(entry["output"]).read_text()), 1e-6)
    print(f"loaded {len(manifest)} stages")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])

"""What Spark's Python workers read again for every task, and need not."""

from __future__ import annotations

import sys
from pathlib import PurePath


def forget_spark_archives() -> None:
    """Drop the import finders of Spark's own archives, so that the next task does not read them.

    PySpark empties Python's import caches before each task. Up to Python 3.11 every finder of a zip
    file reads the whole directory of its file then, and there is one for each package that came
    from it: 0.2 CPU seconds a task for PySpark's zip and Spark's jars, which do not change while a
    worker lives. An import that needs a finder makes it again. Archives of users keep theirs.
    """
    if sys.version_info >= (3, 12):
        return
    for path, finder in list(sys.path_importer_cache.items()):
        name = PurePath(getattr(finder, "archive", "")).name
        if name == "pyspark.zip" or name.startswith("py4j-") or name.endswith(".jar"):
            sys.path_importer_cache.pop(path, None)

"""The README's example, pasted into a fresh process."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from job_process import ROOT


@pytest.mark.once
def test_the_example_runs_as_it_is_printed(tmp_path):
    example = re.search(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # As from a shell whose python3 is another one.
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_REMOTE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    auc = re.fullmatch(r"AUC (0\.\d+) with [\d,]+ bytes", done.stdout.strip())
    assert auc is not None, done.stdout
    assert float(auc[1]) > 0.85
    assert " ERROR " not in done.stderr and "Traceback" not in done.stderr
    assert "ClickLogCleaner, cleaning 7 columns: done in" in done.stderr
    assert (tmp_path / "models" / "income" / "metadata").is_dir()

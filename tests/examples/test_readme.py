"""The README's example, pasted into a fresh process, and what the workers of it import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from job_process import ROOT

pytestmark = pytest.mark.once

# The workers of the other tests are forked with torch; these are as Spark starts them, and are not
# those that computed the teacher's logits.
SPY = """
import json
from tests.examples.torch_spy import spy_on

spark.stop()
spark = spark_ctr.session().getOrCreate()
rows = [([1, 2, 3], [0.5]), ([0, 0, 0], [-1.0])]
names = "categoricalFeatures array<int>, numericFeatures array<float>"
found = {}
for name, path in json.loads(PATHS).items():
    scored = spy_on(spark_ctr.load(path)).transform(spark.createDataFrame(rows, names)).collect()
    found[name] = [row["rawPrediction"][1] for row in scored]
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """Return the process that ran the example and the spy behind it, and its folder."""
    folder = tmp_path_factory.mktemp("readme")
    printed = re.search(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    saved = ROOT / "tests" / "persistence" / "saved" / "format1"
    (full,) = saved.glob("pipeline/stages/*CTRClassifier*")
    # The network's own loader shows that the spy would see it; it runs second.
    paths = json.dumps({"quantised": str(saved / "quantized"), "full": str(full)})
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # As from a shell whose python3 is another one.
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_REMOTE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", f"{printed}\nPATHS = {paths!r}\n{SPY}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done, folder


def test_the_example_runs_as_it_is_printed(example):
    done, folder = example
    auc = re.fullmatch(r"AUC (0\.\d+) with [\d,]+ bytes", done.stdout.splitlines()[0])
    assert auc is not None, done.stdout
    assert float(auc[1]) > 0.85
    assert " ERROR " not in done.stderr and "Traceback" not in done.stderr
    assert "ClickLogCleaner, cleaning 7 columns: done in" in done.stderr
    assert (folder / "models" / "income" / "metadata").is_dir()


def test_a_worker_that_scores_a_quantised_model_imports_no_torch(example):
    line = example[0].stdout.splitlines()[-1]
    assert json.loads(line.removeprefix("FOUND")) == {"quantised": [0.0, 0.0], "full": [1.0, 1.0]}

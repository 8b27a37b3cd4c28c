"""What a Spark worker imports to score."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In a session of its own: the tests' workers are forked with torch.
SCRIPT = """
import json, sys
from pyspark.sql import SparkSession
import spark_ctr
from tests.stage.torch_spy import spy_on

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
rows = [([1, 2, 3], [0.5]), ([0, 0, 0], [-1.0])]
data = spark.createDataFrame(rows, "categoricalFeatures array<int>, numericFeatures array<float>")
found = {}
for name, path in zip(("quantised", "full"), sys.argv[1:]):
    scored = spy_on(spark_ctr.load(path)).transform(data).collect()
    found[name] = [row["rawPrediction"][1] for row in scored]
print("FOUND", json.dumps(found))
spark.stop()
"""


@pytest.mark.once
def test_a_worker_that_scores_a_quantised_model_imports_no_torch():
    saved = ROOT / "tests" / "persistence" / "saved" / "format1"
    (full,) = saved.glob("pipeline/stages/*CTRClassifier*")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(saved / "quantized"), str(full)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    # The network's own loader shows that the spy would see it; it runs second.
    assert json.loads(line.removeprefix("FOUND")) == {"quantised": [0.0, 0.0], "full": [1.0, 1.0]}

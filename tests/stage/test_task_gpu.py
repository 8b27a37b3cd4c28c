"""Which of CUDA's GPUs is the one that Spark gave a task."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from pyspark import TaskContext

from spark_ctr.rows.task_gpu import gpu_of_task


@pytest.fixture
def task(monkeypatch):
    """Function that makes this process a task with GPUs of some addresses."""

    def given(*addresses, visible=None):
        resources = {"gpu": SimpleNamespace(addresses=list(addresses))} if addresses else {}
        context = SimpleNamespace(resources=lambda: resources)
        monkeypatch.setattr(TaskContext, "get", lambda: context)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return given


@pytest.mark.parametrize(
    ("addresses", "visible", "ordinal"),
    [
        (["0"], None, 0),
        (["3"], None, 3),
        ([" 2 ", "5"], None, 2),
        # Executors that see a part of the host's GPUs, which Spark names by the host's numbers.
        (["5"], "4,5,6", 1),
        (["GPU-b"], "GPU-a, GPU-b", 1),
        # And by their own.
        (["1"], "4,5,6", 1),
        (["0"], "", 0),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_gpu_of_the_task(task, addresses, visible, ordinal, device):
    task(*addresses, visible=visible)
    assert gpu_of_task(device) == ordinal
    assert gpu_of_task("cpu") is None


def test_without_a_gpu_of_spark(task, monkeypatch):
    task()
    assert (gpu_of_task("auto"), gpu_of_task("cuda")) == (None, 0)
    monkeypatch.setattr(TaskContext, "get", lambda: None)
    assert (gpu_of_task("auto"), gpu_of_task("cuda")) == (None, 0)


def test_a_name_that_says_nothing_is_refused(task):
    task("GPU-c", visible="GPU-a,GPU-b")
    with pytest.raises(ValueError, match=r"'GPU-c'.*CUDA_VISIBLE_DEVICES.*discovery script"):
        gpu_of_task("auto")


def test_spark_is_not_imported_for_it():
    program = """
import sys
from spark_ctr.rows.task_gpu import gpu_of_task
assert (gpu_of_task("auto"), gpu_of_task("cuda")) == (None, 0)
print("pyspark" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr

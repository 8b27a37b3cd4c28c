"""Freed memory is kept within the context and given back behind it, in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
import torch
from spark_ctr.training.allocation import memory_kept

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def step():
    # 200 MiB in blocks that glibc takes from its heap.
    blocks = [torch.ones(2**21) for _ in range(25)]
    del blocks

before = resident()
with memory_kept():
    with memory_kept():
        step()
    kept = resident() - before
print(kept, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is meant")
def test_memory_is_kept_and_given_back():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    kept, after = (float(figure) for figure in done.stdout.split())
    assert kept > 190
    assert after < 60

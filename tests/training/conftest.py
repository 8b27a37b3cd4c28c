"""Fixtures of the tests of training."""

import pytest
import torch
from memory_log import INPUTS, MemoryFeed, click_rows

from spark_ctr.networks import Inputs


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Keep threads that wait for each other from slowing tiny networks on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def inputs() -> Inputs:
    """Columns of `make_rows`."""
    return INPUTS


@pytest.fixture
def make_rows():
    """Return the function (rows, seed) -> Batch."""
    return click_rows


@pytest.fixture
def memory_feed():
    """Return the class of in-memory feeds."""
    return MemoryFeed

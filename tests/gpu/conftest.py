"""One compiled library of the CUDA sources for all tests of a session."""

import pytest

from tests.gpu.host import compile_for_host


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    return compile_for_host(tmp_path_factory.mktemp("host"))

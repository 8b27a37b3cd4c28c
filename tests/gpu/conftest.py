"""One compiled library of the CUDA sources for all tests of a session, or a device."""

import pytest

from tests.gpu.host import compile_for_host
from tests.gpu.on_device import DeviceRunner, on_device
from tests.gpu.stand_in import HostDevice


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    if on_device():
        return DeviceRunner()
    return compile_for_host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def stand_in(host):
    """A device that is none, for what no real one does on request."""
    if on_device():
        pytest.skip("for a stand-in only")
    return HostDevice(host)

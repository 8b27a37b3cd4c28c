"""A model's bytes in a worker: from a file of the executor, or from memory, always the same."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spark_ctr.rows import shared_payload
from spark_ctr.rows.shared_payload import Payload

DATA = os.urandom(3000)
DIGEST = hashlib.sha256(DATA).hexdigest()
pytestmark = pytest.mark.skipif(
    shared_payload.fcntl is None, reason="workers of this system share nothing"
)


@pytest.fixture
def local(tmp_path, monkeypatch):
    """The folder that Spark gives its workers; any size is worth a file."""
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path},{tmp_path}/other")
    monkeypatch.setattr(shared_payload, "_LEAST_BYTES", 1)
    shared_payload._say.cache_clear()
    return tmp_path


def mappings() -> str:
    """What this process maps; nothing where the system does not say."""
    maps = Path("/proc/self/maps")
    return maps.read_text() if maps.exists() else ""


def file_of(local: Path) -> Path:
    return local / f"spark_ctr-{os.geteuid()}" / DIGEST


def read() -> memoryview:
    """Read as a worker does that was sent the payload."""
    found = pickle.loads(pickle.dumps(Payload(DATA, shared=True))).read()
    assert isinstance(found, memoryview) and found == DATA
    return found


def test_a_file_of_this_user_alone_is_mapped(local):
    found = read()
    file = file_of(local)
    assert file.read_bytes() == DATA
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert [file] == list(file.parent.iterdir()) and [file.parent] == list(local.iterdir())
    assert found.readonly and (not mappings() or str(file) in mappings())
    # Another task of this process reads what is mapped, whatever becomes of the file.
    file.unlink()
    assert read() == found and not file.exists()
    del found
    gc.collect()
    assert str(file) not in mappings()
    read()
    assert file.exists()


def test_what_is_there_is_not_written_again(local):
    first = Payload(DATA, shared=True).read()
    before = file_of(local).stat()
    del first
    gc.collect()
    assert Payload(DATA, shared=True).read() == DATA
    after = file_of(local).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA + b"x", bytes(len(DATA))])
def test_a_file_of_other_bytes_is_written_anew_and_that_is_said(local, caplog, damaged):
    file_of(local).parent.mkdir(mode=0o700)
    file_of(local).write_bytes(damaged)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        read()
    assert file_of(local).read_bytes() == DATA
    (record,) = caplog.records
    assert (
        record.getMessage()
        == f"{file_of(local)} held other bytes than the model's, and is written anew"
    )


def no_folder(local):
    os.rmdir(local)
    return "No such file or directory"


def a_file_instead(local):
    (local / f"spark_ctr-{os.geteuid()}").write_text("")
    return "is no folder of this user alone"


def others_may_read(local):
    (local / f"spark_ctr-{os.geteuid()}").mkdir(mode=0o755)
    return "is no folder of this user alone"


def a_link_instead(local):
    (local / "elsewhere").mkdir(mode=0o700)
    (local / f"spark_ctr-{os.geteuid()}").symlink_to(local / "elsewhere")
    return "is no folder of this user alone"


def a_link_to_the_bytes(local):
    file_of(local).parent.mkdir(mode=0o700)
    (local / "bytes").write_bytes(DATA)
    file_of(local).symlink_to(local / "bytes")
    return "symbolic links"


def a_folder_of_that_name(local):
    file_of(local).mkdir(parents=True)
    file_of(local).parent.chmod(0o700)
    return "Is a directory|No such device"


@pytest.mark.parametrize(
    "wrong",
    [
        no_folder,
        a_file_instead,
        others_may_read,
        a_link_instead,
        a_link_to_the_bytes,
        a_folder_of_that_name,
    ],
)
def test_what_goes_wrong_is_said_once_and_changes_nothing_else(local, caplog, wrong):
    message = wrong(local)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        for _ in range(3):
            found = read()
            del found
            gc.collect()
    texts = [record.getMessage() for record in caplog.records]
    said = [text for text in texts if text.startswith("each Python worker has a model in its own")]
    assert len(said) == 1 and len(texts) == len(set(texts)) <= 2
    assert any(part in said[0] for part in message.split("|"))


def test_a_full_disk_leaves_the_bytes_in_memory(small_disk, local, caplog, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(small_disk))
    data = os.urandom(small_disk.stat().st_blksize + (2 << 20))
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        assert Payload(data, shared=True).read() == data
    assert "No space left on device" in caplog.text
    (folder,) = small_disk.iterdir()
    assert not list(folder.iterdir())


def test_without_a_folder_nothing_is_said(local, caplog, monkeypatch):
    monkeypatch.delenv("SPARK_LOCAL_DIRS")
    with caplog.at_level(logging.DEBUG, "spark_ctr"):
        read()
    assert not caplog.records and not list(local.iterdir())


def test_small_payloads_and_those_of_other_loaders_stay_bytes(local, monkeypatch):
    assert Payload(DATA).read() is DATA
    monkeypatch.setattr(shared_payload, "_LEAST_BYTES", len(DATA) + 1)
    assert Payload(DATA, shared=True).read() is DATA
    assert not list(local.iterdir())


def test_broadcasts_are_forgotten_that_held_the_command(local, monkeypatch):
    from pyspark import broadcast

    class Held:
        def __init__(self, value, path="file"):
            self._value, self._path = value, path

    command = b"." + Payload(DATA).digest.encode() + b"." + DATA
    held = {0: Held(command), 1: Held(b"other" + DATA), 2: Held([1, 2]), 3: Held(command, None)}
    module = sys.modules.get("pyspark.core.broadcast", broadcast)
    monkeypatch.setattr(module, "_broadcastRegistry", held)
    read()
    assert [number for number, one in held.items() if not hasattr(one, "_value")] == [0]


PROGRAM = """
import os, sys
from pathlib import Path
from spark_ctr.rows import shared_payload
data = Path(sys.argv[1]).read_bytes()
write = shared_payload._write
def written(file, data):
    print("wrote", flush=True)
    write(file, data)
shared_payload._write = written
print("ready", flush=True)
sys.stdin.readline()
assert shared_payload.Payload(data, shared=True).read() == data
"""


def test_of_many_workers_one_writes(tmp_path):
    """All start at once; the rest waits for the writer, and maps what it wrote."""
    (tmp_path / "data").write_bytes(os.urandom(8 << 20))
    (tmp_path / "local").mkdir()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data")]
    environment = os.environ | {"SPARK_LOCAL_DIRS": str(tmp_path / "local")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).parents[2]
    workers = [subprocess.Popen(command, env=environment, cwd=root, **pipes) for _ in range(6)]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        said = [worker.communicate()[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0] * 6
    assert sorted(said) == [*[""] * 5, "wrote\n"]
    assert len(list((tmp_path / "local").glob("*/*"))) == 1


DYING = """
import os, signal, sys
from pathlib import Path
from spark_ctr.rows import shared_payload
class Killed:
    def __init__(self, stream): self._stream = stream
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def write(self, data):
        self._stream.write(data[: len(data) // 2])
        self._stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
shared_payload.open = lambda *arguments: Killed(open(*arguments))
data = Path(sys.argv[1]).read_bytes()
shared_payload.Payload(data, shared=True).read()
"""


def test_a_worker_killed_while_it_writes_is_in_nobodys_way(local):
    data = os.urandom(2 << 20)
    (local / "data").write_bytes(data)
    command = [sys.executable, "-c", DYING, str(local / "data")]
    died = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert died.returncode == -signal.SIGKILL
    (half,) = local.glob("spark_ctr-*/*")
    assert half.name.startswith(".") and half.stat().st_size == len(data) // 2
    assert Payload(data, shared=True).read() == data
    whole = local / f"spark_ctr-{os.geteuid()}" / hashlib.sha256(data).hexdigest()
    assert whole.read_bytes() == data

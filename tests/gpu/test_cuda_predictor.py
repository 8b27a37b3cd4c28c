"""What a worker does with Arrow batches on a device, and where there is none."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from spark_ctr.kernels.cuda import (
    ARCHITECTURES,
    CompilerMissingError,
    CudaError,
    NoDevice,
    machine_code,
    open_device,
)
from spark_ctr.kernels.cuda.build import build
from spark_ctr.kernels.cuda.cubins import MARK, source_digest
from spark_ctr.rows import scored_batches
from spark_ctr.rows.scored_batches import Scoring
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.runtime import cuda_predictor
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_to_bytes, predictor_from_bytes
from tests.gpu.on_device import SOURCES
from tests.gpu.stand_in import FailingStream, device_of
from tests.gpu.test_cuda_execution import Student

LOADER = "spark_ctr.runtime.serialization:predictor_from_bytes"


@pytest.fixture(scope="module")
def student():
    made = Student(1)
    return made, packed_to_bytes(PackedModel.from_arrays(made.header, made.arrays))


@pytest.fixture
def device(monkeypatch):
    """Function that makes a device the one that is found."""
    monkeypatch.setattr(scored_batches, "_predictors", type(scored_batches._predictors)())
    cuda_predictor._say.cache_clear()

    def use(found):
        def opened(ordinal):
            if isinstance(found, Exception):
                raise found
            assert ordinal == 0
            return found

        monkeypatch.setattr(cuda_predictor, "_device", opened)

    return use


def packed(ids, numeric):
    """Rows as the JVM packs them."""
    parts = zip(ids.astype("<i4"), numeric.astype("<f4"), strict=True)
    return pa.array([i.tobytes() + x.tobytes() for i, x in parts], pa.binary())


def scores(student, batches, on, policy="keep"):
    made, payload = student
    one = Scoring(made.inputs, 1, policy, True, LOADER, Payload(payload), on)
    return [found.to_numpy() for found in one.arrow(batches)]


def test_arrow_batches_on_a_device_have_the_scores_of_the_cpu(host, device, student):
    device(device_of(host))
    batches = [packed(*student[0].rows(count)) for count in (70, 0, 3, 130)]
    expected = scores(student, batches, "cpu")
    for found, wanted in zip(scores(student, batches, "cuda"), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_only_what_is_to_be_on_a_device_is(stand_in, device, student):
    device(stand_in)
    batch = packed(*student[0].rows(3))
    scores(student, [batch], "cpu")
    assert not stand_in.launched
    scores(student, [batch], "cuda")
    assert stand_in.launched


def test_invalid_rows_are_those_of_their_own_batch(host, device, student):
    device(device_of(host))
    batches = []
    for wrong in ([1], [], [0, 2]):
        ids, numeric = student[0].rows(3)
        numeric[wrong] = np.nan
        batches.append(packed(ids, numeric))
    found = scores(student, batches, "cuda", "skip")
    missing = [np.isnan(part).nonzero()[0].tolist() for part in found]
    assert missing == [[1], [], [0, 2]]
    with pytest.raises(ValueError, match="1 of 3 rows in a batch"):
        scores(student, batches, "cuda", "error")


REASONS = [
    NoDevice("there is no GPU 0: CUDA sees 0"),
    CudaError("CUDA_ERROR_NOT_INITIALIZED"),
    CompilerMissingError("NVRTC cannot be loaded"),
]


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: type(reason).__name__)
def test_without_a_gpu_the_cpu_scores_and_says_so_once(device, student, caplog, reason):
    device(reason)
    made, payload = student
    ids, numeric = made.rows(9)
    expected = predictor_from_bytes(payload)(ids, numeric)
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        for _ in range(2):
            found = predictor_from_bytes(payload, gpu=0)(ids, numeric)
            np.testing.assert_array_equal(found, expected)
    (said,) = [record.message for record in caplog.records]
    assert "same scores" in said and str(reason) in said
    with pytest.raises(type(reason), match=str(reason)):
        predictor_from_bytes(payload, gpu=0, required=True)


def test_kernels_that_cannot_be_loaded_are_found_before_the_first_row(stand_in, device, student):
    found = stand_in

    def load(source, kernel):
        raise CudaError(f"{source}: CUDA_ERROR_NO_BINARY_FOR_GPU")

    found.load = load
    device(found)
    with pytest.raises(CudaError, match="NO_BINARY_FOR_GPU"):
        predictor_from_bytes(student[1], gpu=0, required=True)
    assert predictor_from_bytes(student[1], gpu=0)(*student[0].rows(2)).shape == (2, 1)


def test_a_device_that_fails_at_work_is_not_hidden(stand_in, device, student):
    found = stand_in
    found.stream = lambda: FailingStream(found)
    device(found)
    with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
        scores(student, [packed(*student[0].rows(3))], "cuda")


def test_no_driver_is_said():
    pytest.importorskip("cuda.core")
    try:
        device = open_device(0)
    except NoDevice as error:
        assert "driver" in str(error) or "GPU" in str(error)
    else:
        assert device.arch in ARCHITECTURES
        with pytest.raises(NoDevice, match="CUDA sees"):
            open_device(1000)


def test_prebuilt_machine_code_is_taken(tmp_path):
    (tmp_path / "sm_90").mkdir()
    (tmp_path / "sm_90" / "embedding.cubin").write_bytes(b"prebuilt")
    (tmp_path / MARK).write_text(source_digest() + "\n")
    assert machine_code("embedding", "sm_90", folder=tmp_path) == b"prebuilt"
    try:
        compiled = machine_code("embedding", "sm_80", folder=tmp_path)
    except CompilerMissingError as error:
        pytest.skip(str(error))
    assert compiled[:4] == b"\x7fELF"
    # Of other sources than those that are there.
    (tmp_path / MARK).write_text("0" * 64)
    assert machine_code("embedding", "sm_90", folder=tmp_path)[:4] == b"\x7fELF"


def test_all_that_programs_launch_is_built(tmp_path):
    try:
        files = build(tmp_path)
    except CompilerMissingError as error:
        pytest.skip(str(error))
    launched = {*SOURCES.values(), "elements"} - {"binary_oracle"}
    names = {f"{arch}/{source}.cubin" for arch in ARCHITECTURES for source in launched}
    assert {file.relative_to(tmp_path).as_posix() for file in files} == names
    for file in files:
        found = machine_code(file.stem, file.parent.name, folder=tmp_path)
        assert found == file.read_bytes()

"""A full disk: the old model stays, and one sentence says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spark_ctr
from spark_ctr.stage.model_errors import reason_of
from spark_ctr.stage.persistence import ModelFileError


@pytest.mark.once
@pytest.mark.parametrize("name", ["encoder", "quantized"])
def test_the_old_model_stays(
    models: dict[str, Any], spark: Any, small_disk: Path, name: str
) -> None:
    path = str(small_disk / "model")
    model = models[name]
    model.save(path)
    free = small_disk / "filler"
    with pytest.raises(OSError, match="No space"), free.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(ModelFileError) as error:
        model.write().overwrite().save(path)
    said = str(error.value)
    assert "No space left on device" in said and "are needed" in said and "are free" in said
    assert path in said and "as it was" in said and len(said) < 500
    assert error.value.__suppress_context__
    free.unlink()
    assert spark_ctr.load(path)._state() == model._state()
    assert len(list((small_disk / "model" / "versions").iterdir())) == 1


def test_one_line_of_a_java_trace() -> None:
    java = (
        "An error occurred while calling o1.text.\n: org.apache.spark.SparkException: Aborted.\n"
        "\tat org.apache.spark.A.b(A.scala:1)\nCaused by: java.io.IOException: {}\n\tat java.B.c"
    )
    assert reason_of(RuntimeError(java.format("Mkdirs failed"))) == "Mkdirs failed"
    assert reason_of(RuntimeError(java.format("x: No space left on device"))) == (
        "No space left on device"
    )
    assert len(reason_of(RuntimeError("x" * 9000))) < 400

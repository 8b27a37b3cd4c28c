"""Damaged and forged models: refused with one error, or unchanged; never a wrong score."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import damage as damaging
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.networks.trust import UntrustedModuleError, trust
from spark_ctr.stage.model_record import checksum
from spark_ctr.stage.persistence import ModelFileError


@pytest.mark.parametrize("change", [damaging.damage, damaging.forge])
def test_a_changed_model_is_refused_or_the_same(
    models: dict[str, Any], disk: None, change: Any
) -> None:
    ends, wrong = damaging.run(models, 40, change, seed=7)
    assert not wrong
    assert ends["refused"] > 20


@pytest.mark.parametrize("forged", [False, True])
def test_damage_to_packed_weights_names_the_model_and_the_part(
    models: dict[str, Any], disk: None, tmp_path: Path, forged: bool
) -> None:
    """Where the digests are right too, what the weights say of themselves is not."""
    path = tmp_path / "model"
    model = models["quantized"]
    model.save(str(path))
    (file,) = path.glob("versions/*/payload/part-*")
    rows = pq.read_table(file).to_pylist()
    (row,) = [row for row in rows if row["name"] == "weights.safetensors"]
    offsets = re.search(rb'"data_offsets":\[\d+,(\d+)', row["data"])
    assert offsets is not None
    damaged = bytearray(row["data"])
    damaged[offsets.start(1)] ^= 1  # another digit
    whole, row["data"] = row["data"], bytes(damaged)
    pq.write_table(pa.Table.from_pylist(rows), file)
    if forged:
        (line,) = path.glob("metadata/part-*")
        old, new = (hashlib.sha256(data).hexdigest() for data in (whole, row["data"]))
        metadata = json.loads(line.read_text().replace(old, new))
        metadata["checksum"] = checksum(metadata)
        line.write_text(json.dumps(metadata))
    with pytest.raises(ModelFileError) as error:
        type(model).load(str(path))
    said = str(error.value)
    assert (
        str(path) in said and ("weights are damaged" if forged else "weights.safetensors") in said
    )
    assert ("array" if forged else "was altered: its SHA-256") in said


def test_no_more_is_built_than_the_bytes_hold() -> None:
    inputs = Inputs((Table("site", 7, 4),), ())
    data = network_to_bytes(
        build_network("dnn", inputs, {"hidden_layers": [4], "batch_norm": False})
    )
    for old, new in (
        (b'"rows\\": 7', b'"rows\\": 2147483647'),
        (b'hidden_layers\\": [4]', b'hidden_layers\\": [400000000]'),
        (b'"dim\\": 4', b'"dim\\": 999999999'),
    ):
        length = int.from_bytes(data[:8], "little")
        assert old in data[: 8 + length]
        header = data[8 : 8 + length].replace(old, new)
        forged = len(header).to_bytes(8, "little") + header + data[8 + length :]
        with pytest.raises(ValueError, match="tensor|weights"):
            network_from_bytes(forged)


def test_a_module_is_imported_only_where_it_is_trusted() -> None:
    inputs = Inputs((Table("site", 7, 4),), ())
    path = "tests.networks.own_networks:Plain"
    data = network_to_bytes(build_network(path, inputs))
    forged = data.replace(b"tests.networks.own_networks", b"tests.never_imported.at_all")
    for trusted in ((), ("tests.networks",), ("test",)):
        with trust(*trusted), pytest.raises(UntrustedModuleError, match="trustedModules="):
            network_from_bytes(forged)
    with trust("tests"):
        assert network_from_bytes(data).name == path


def test_a_stage_takes_trusted_modules(models: dict[str, Any], disk: None, tmp_path: Any) -> None:
    model = models["classifier"].copy()
    model._set(network="somebody.else:Net")
    model.save(str(tmp_path / "model"))
    cls = type(model)
    for load in (cls.load, cls.read().trustedModules(["somebody.other"]).load):
        with pytest.raises(ModelFileError, match=r"trustedModules=\['somebody.else'\]"):
            load(str(tmp_path / "model"))
    loaded = cls.load(str(tmp_path / "model"), trustedModules=["somebody"])
    assert loaded.to_bytes() == model.to_bytes()

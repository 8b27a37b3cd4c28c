"""Damaged and forged models: refused with one error, or unchanged; never a wrong score."""

from __future__ import annotations

from typing import Any

import damage as damaging
import pytest

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.networks.trust import UntrustedModuleError, trust
from spark_ctr.stage.persistence import ModelFileError


@pytest.mark.parametrize("change", [damaging.damage, damaging.forge])
def test_a_changed_model_is_refused_or_the_same(
    models: dict[str, Any], disk: None, change: Any
) -> None:
    ends, wrong = damaging.run(models, 40, change, seed=7)
    assert not wrong
    assert ends["refused"] > 20


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

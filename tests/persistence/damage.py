"""Damage and forge saved models, many times by a seed; counts what a load makes of it.

Usage: PYTHONPATH=$PWD python tests/persistence/damage.py --damaged 500 --forged 200 --seed 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from disk_files import without_spark
from saved_models import saved_models

from spark_ctr.stage.model_record import checksum
from spark_ctr.stage.persistence import ModelFileError

# What no number and no name may be.
_ODD: list[Any] = [float("nan"), float("inf"), 10**400, True, "1); DROP TABLE t; --", [], {}, [[1]]]


def damage(folder: Path, draw: random.Random) -> str:
    """Truncate, flip, delete or swap files of a saved model."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    file = draw.choice(files)
    kind = draw.choice(["truncate", "flip", "delete", "swap", "folder"])
    data = bytearray(file.read_bytes())
    if kind == "truncate":
        file.write_bytes(data[: draw.randrange(len(data))])
    elif kind == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
    elif kind == "delete":
        file.unlink()
    elif kind == "folder":
        shutil.rmtree(file.parent)
    else:
        other = draw.choice(files)
        theirs = other.read_bytes()
        other.write_bytes(data)
        file.write_bytes(theirs)
    return kind


def forge(folder: Path, draw: random.Random) -> str:
    """Change a value to one that no stage writes, and make the checksums right."""
    (line,) = folder.glob("metadata/part-*")
    metadata = json.loads(line.read_text())
    own = metadata["sparkCtr"]
    payload = dict.fromkeys(own["payload"], b"")
    (file,) = folder.glob("versions/*/payload/part-*")
    for row in pq.read_table(file).to_pylist():
        payload[row["name"]] += row["data"]
    parts = [name for name in payload if name != "_save"]
    forged = draw.choice(["state", "record", "param", *parts * 3])
    if forged == "state":
        _change(own["state"], draw)
    elif forged == "param":
        kind = metadata[draw.choice(["paramMap", "defaultParamMap"])]
        name = draw.choice(sorted(kind) or ["none"])
        kind[name] = draw.choice([None, float("nan"), {"a": 1}, [1.5, None]])
    elif forged == "record":
        key = draw.choice(["formatVersion", "generation", "save", "nested", "state", "payload"])
        own[key] = draw.choice([None, -1, 0.5, "x", [1], True, 10**30])
    elif forged.endswith(".json"):
        described = json.loads(payload[forged])
        _change(described, draw)
        payload[forged] = json.dumps(described).encode()
    else:
        payload[forged] = _forged_tensors(payload[forged], draw)
    if isinstance(own.get("payload"), dict):
        own["payload"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in payload.items()
        }
    metadata["checksum"] = checksum(metadata)
    line.write_text(json.dumps(metadata))
    rows = [{"name": name, "part": 0, "data": data} for name, data in payload.items()]
    pq.write_table(pa.Table.from_pylist(rows), file)
    return forged


def _forged_tensors(data: bytes, draw: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    described = header.get("__metadata__", {})
    tensors = dict(safetensors.numpy.load(data))
    name = draw.choice(sorted(tensors))
    kind = draw.choice(["nan", "type", "shape", "drop", "more", "header"])
    array = tensors[name]
    if kind == "nan" and array.dtype.kind == "f":
        tensors[name] = array.copy()
        tensors[name].flat[draw.randrange(max(array.size, 1))] = draw.choice([np.nan, np.inf])
    elif kind == "shape":
        tensors[name] = np.concatenate([array.reshape(-1), array.reshape(-1)[:1]])
    elif kind == "drop":
        del tensors[name]
    elif kind == "more":
        tensors["more"] = array
    elif kind == "header" and described:
        (key,) = described
        inner = json.loads(described[key])
        _change(inner, draw)
        described = {key: json.dumps(inner)}
    else:
        tensors[name] = array.astype(np.int32 if array.dtype != np.int32 else np.float64)
    return safetensors.numpy.save(tensors, metadata=described or None)


def _change(values: Any, draw: random.Random) -> None:
    """Put something of another kind somewhere into JSON, or leave something out."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = values[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.8:
            values = inner
        elif draw.random() < 0.2:
            del values[key]
            return
        else:
            # Another name or bool would be another model that makes sense.
            same = str if isinstance(inner, str) else bool if isinstance(inner, bool) else ()
            values[key] = draw.choice([odd for odd in _ODD if not isinstance(odd, same)])
            return


def outcome(cls: type, folder: Path, original: Any) -> str:
    """Load: refused by the one error type, unchanged, changed, or a raw error."""
    try:
        loaded = cls.load(str(folder))  # type: ignore[attr-defined]
        same = _content(loaded) == _content(original)
    except ModelFileError:
        return "refused"
    except Exception as error:  # what this looks for
        return f"raw {type(error).__name__}: {error}"
    return "unchanged" if same else "changed"


_PLAN = ("column", "decision", "cut", "buckets", "dimension")


def _content(model: Any) -> Any:
    """All that scores depend on: neither reports nor the history of a training."""
    state, payload = model._state()
    params = {p.name: model.getOrDefault(p) for p in model.params if model.isDefined(p)}
    if "weights.safetensors" in payload:
        state = {}
    elif "histograms.json" in payload:
        payload = {}
        state = {"plans": [{key: facts[key] for key in _PLAN} for facts in state["columns"]]}
    elif "numeric" in state and "report" in state:
        state = {"numeric": state["numeric"]}
    elif "categorical" in state:
        kept = [{k: v for k, v in c.items() if k != "unread"} for c in state["categorical"]]
        state = state | {"categorical": kept}
    return json.dumps([state, params], sort_keys=True), payload


def run(
    models: dict[str, Any],
    count: int,
    change: Callable[[Path, random.Random], str],
    seed: int,
) -> tuple[Counter, list[str]]:
    """Change copies of saved models; returns how the loads ended, and what is wrong."""
    draw = random.Random(seed)
    ends: Counter = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, model in models.items():
            model.save(f"{scratch}/{name}")
        for _ in range(count):
            name = draw.choice(sorted(models))
            copy = Path(scratch, "copy")
            shutil.copytree(Path(scratch, name), copy)
            what = change(copy, draw)
            end = outcome(type(models[name]), copy, models[name])
            ends[end.split(":")[0]] += 1
            if end not in ("refused", "unchanged"):
                wrong.append(f"{name}, {what}: {end}")
            shutil.rmtree(copy)
    return ends, wrong


def main() -> None:
    """Print the counts, and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damaged", type=int, default=500)
    parser.add_argument("--forged", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable()
    with without_spark():
        models = saved_models()
        for count, change in ((given.damaged, damage), (given.forged, forge)):
            ends, wrong = run(models, count, change, given.seed)
            print(change.__name__, dict(ends))
            print(*wrong, sep="\n")


if __name__ == "__main__":
    main()

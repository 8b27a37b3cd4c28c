"""The benchmarks' frame, without Spark."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.frame import (
    Record,
    append_record,
    in_new_process,
    read_records,
    run,
    summarise,
    table,
)
from benchmarks.measure import PeakMemory, cpu_seconds, machine, seconds


def _record(value, *, case="fit", system="spark_ctr", metric="time", unit="s", seed=0):
    return Record(case, system, metric, value, unit, seed)


def test_records_survive_json(tmp_path):
    records = [_record(1.5), _record(0.1 + 0.2, case='ü, "quoted"', seed=3)]
    for record in records:
        append_record(tmp_path / "records.jsonl", record)
    assert read_records(tmp_path / "records.jsonl") == records
    first = json.loads((tmp_path / "records.jsonl").read_text().splitlines()[0])
    assert list(first) == ["case", "system", "metric", "value", "unit", "seed"]


@pytest.mark.parametrize("line", ["{", '{"case": "fit"}', "[]"])
def test_a_broken_line_is_named(tmp_path, line):
    append_record(tmp_path / "records.jsonl", _record(1.0))
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2 is no record of case, system"):
        read_records(tmp_path / "records.jsonl")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_must_be_finite(value):
    with pytest.raises(ValueError, match="fit, spark_ctr: time is (nan|inf)"):
        _record(value)


def test_costs_have_a_median_and_quality_mean_and_deviation():
    values = [0.7, 0.8, 1.2]
    costs = [_record(value, seed=seed) for seed, value in enumerate(values)]
    quality = [_record(value, metric="auc", unit="") for value in values]
    found = summarise([*costs, *quality, _record(0.5, metric="auc", unit="", system="other")])
    cost = found["fit", "time", "s", "spark_ctr"]
    assert (cost.centre, cost.spread, cost.count) == (0.8, None, 3)
    auc = found["fit", "auc", "", "spark_ctr"]
    assert auc.centre == pytest.approx(np.mean(values))
    assert auc.spread == pytest.approx(np.std(values, ddof=1))
    assert found["fit", "auc", "", "other"].spread is None


def _cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_table_has_all_systems_and_ratios_to_the_peer():
    records = [
        _record(4.0, system="peer"),
        _record(1.0),
        _record(3.0),
        _record(1234.5, case="save", metric="size", unit="bytes"),
        _record(0.75, metric="auc", unit=""),
        _record(0.7, metric="auc", unit="", system="peer"),
        _record(0.8, metric="auc", unit="", system="peer"),
        _record(0.9, metric="auc", unit="", system="best"),
    ]
    lines = table(records, "peer").splitlines()
    assert len({len(line) for line in lines}) == 1
    head, _, *rows = _cells("\n".join(lines))
    assert head == ["case", "metric", "spark_ctr", "peer", "best", "spark_ctr / peer"]
    assert rows == [
        ["fit", "time, s", "2 (n=2)", "4", "", "0.50"],
        ["save", "size, bytes", "1,234", "", "", ""],
        ["fit", "auc", "0.7500", "0.7500 ± 0.0707 (n=2)", "0.9000", ""],
    ]
    assert _cells(table(records))[0] == ["case", "metric", "spark_ctr", "peer", "best"]


def test_an_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="no record of 'pear'; the systems are spark_ctr, peer"):
        table([_record(1.0), _record(1.0, system="peer")], "pear")


def test_run_prints_header_and_table_and_writes_records(tmp_path, capsys):
    def measure(arguments):
        assert arguments.quick and arguments.master == "local[2]" and arguments.rows == 5
        for seed in arguments.seeds:
            yield _record(2.0 + seed, seed=seed)
            yield _record(4.0, seed=seed, system="peer")

    argv = ["--quick", "--json", str(tmp_path / "out.jsonl"), "--seeds", "1", "2", "--rows", "5"]
    records = run(
        measure,
        "A benchmark.",
        peer="peer",
        options=lambda parser: parser.add_argument("--rows", type=int),
        argv=argv,
    )
    assert [record.seed for record in records] == [1, 1, 2, 2]
    assert read_records(tmp_path / "out.jsonl") == records
    out = capsys.readouterr().out
    assert out.startswith("seeds 1, 2\npython ")
    assert out.rstrip().endswith(table(records, "peer"))
    assert "0.88" in out  # 3.5 / 4


def test_records_before_a_failure_are_kept(tmp_path):
    def measure(arguments):
        yield _record(1.0)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run(measure, "A benchmark.", argv=["--json", str(tmp_path / "out.jsonl")])
    assert read_records(tmp_path / "out.jsonl") == [_record(1.0)]


def test_header_names_versions_and_machine():
    text = "\n".join(machine())
    libraries = ["python", "pyspark", "torch", "numpy", "pyarrow", "spark_ctr"]
    for name in [*libraries, "CPU", "SIMD", "load average"]:
        assert f"{name} " in text


def test_seconds_times_every_call():
    calls = []

    def call():
        calls.append(1)
        time.sleep(0.02)

    taken = seconds(call, repeats=3)
    assert len(taken) == len(calls) == 3
    assert min(taken) >= 0.02
    with pytest.raises(ValueError, match="repeats must be at least 1, not 0"):
        seconds(call, repeats=0)


def test_peak_memory_sees_what_was_freed_since():
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        block = np.ones(200 << 20, dtype=np.uint8)
        time.sleep(2.5)
        del block
    assert memory.mebibytes - before.mebibytes > 150


def test_peak_memory_counts_child_processes():
    code = "b = bytearray(b'1') * (200 << 20); print(len(b), flush=True); input()"
    with PeakMemory() as before:
        pass
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        with PeakMemory() as memory:
            pass
        child.communicate(b"\n")
    assert memory.mebibytes - before.mebibytes > 150


def test_cpu_time_counts_work_of_a_process_that_ended_but_not_waiting():
    begin = cpu_seconds()
    time.sleep(1.0)
    waited = cpu_seconds()
    code = "import time\nwhile time.process_time() < 1.0: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert waited - begin < 0.5
    assert cpu_seconds() - waited >= 0.9


def _records_of_process(count, fail):
    for _ in range(count):
        yield _record(float(os.getpid()))
    if fail:
        raise RuntimeError("expected in this test")


def test_records_come_from_a_new_process():
    records = list(in_new_process(_records_of_process, 2, False))
    assert [record.case for record in records] == ["fit", "fit"]
    assert records[0].value == records[1].value != os.getpid()


def test_failure_of_the_process_is_raised_after_its_records():
    stream = in_new_process(_records_of_process, 1, True)
    assert next(stream).case == "fit"
    with pytest.raises(RuntimeError, match="_records_of_process failed with exit status 1"):
        next(stream)

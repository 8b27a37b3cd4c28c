"""The distillation benchmark: every number is there, and its students differ as they say."""

import argparse
from collections import Counter

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from benchmarks import distillation, distillation_teachers
from benchmarks.distillation_peers import EqualWidths, RocketLaunching, equal_widths
from benchmarks.distillation_systems import FULL, LABELS, LOGS, SYSTEMS, System, systems
from benchmarks.distillation_table import distillation_table
from benchmarks.frame import Record, run
from benchmarks.model_zoo_logs import Log, Rows
from benchmarks.taught_feed import COPIES, TaughtFeed, TaughtRows, logits_of
from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.serialization import network_to_bytes
from spark_ctr.training.feeds import Batch
from spark_ctr.training.losses import Outputs

INPUTS = Inputs((Table("user_id_clean", 9, 4), Table("ad_id_clean", 7, 4)), ("age_clean",))
QUICK = argparse.Namespace(quick=True, precision="float32", epochs=None, teachers=None)


def rows(count, seed=0, true=False):
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.integers(0, table.rows, count) for table in INPUTS.tables], 1)
    p = 1 / (1 + np.exp(1.5 - (ids[:, 0] > 4) * (ids[:, 1] > 3) * 2.0))
    label = p if true else rng.random(count) < p
    numeric = rng.normal(size=(count, 1)).astype(np.float32)
    return Rows(ids.astype(np.int32), numeric, label.astype(np.float32))


def log():
    return Log(INPUTS, rows(400), rows(300, 1, true=True), history=rows(400, 2))


def dnn(widths, seed=0):
    config = {"hidden_layers": widths, "batch_norm": False, "dropout": 0.0}
    return build_network("dnn", INPUTS, config, seed)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    monkeypatch.setattr(distillation, "opened", lambda *_: log())

    def measure(*arguments):
        argv = ["--quick", "--data", "drawn5", "--teachers", str(tmp_path), *arguments]
        options = distillation._options
        return run(distillation.measure, "", seeds=[3], options=options, argv=argv), tmp_path

    return measure


def test_quick_measures_every_system_and_teacher_once(measured):
    records, folder = measured()
    own = systems("drawn5")
    teachers = {f"teacher: {system.teacher}" for system in own.values() if system.teacher}
    count = Counter((r.case, r.system, r.metric) for r in records)
    assert set(count.values()) == {1}
    assert {r.system for r in records} == {*own} | teachers
    for system in {*own} | teachers:
        for metric in ("auc", "log_loss", "calibration ratio", "CPU time", "time per row"):
            assert ("drawn5", system, metric) in count
        for what in ("revenue", "welfare", "revenue, low", "welfare, high"):
            assert (("drawn5, auction against labels", system, what) in count) == (system != LABELS)
    for name, system in own.items():
        assert ("drawn5, rows that choose the epoch", name, "auc") in count
        assert ("drawn5, minus teacher", name, "auc difference") in count or not system.teacher
        assert ("drawn5", name, "cost") in count or not system.teacher
    assert len(list(folder.glob("*.safetensors"))) == len(teachers)
    table = distillation_table(records)
    assert table.count("\n") == len(own) + len(teachers) + 1


def test_differences_are_those_of_the_figures(measured):
    records, _ = measured("--systems", FULL)
    value = {(r.case, r.system, r.metric): r.value for r in records}
    for what, other in (("labels", LABELS), ("teacher", "teacher: informed")):
        for metric in ("auc", "log_loss"):
            gap = value["drawn5", FULL, metric] - value["drawn5", other, metric]
            assert value[f"drawn5, minus {what}", FULL, f"{metric} difference"] == gap


def test_tuning_tells_the_rows_that_choose_the_epoch_only(measured):
    records, _ = measured("--tune", "--systems", LABELS)
    assert {r.metric for r in records} == {"auc", "log_loss"}
    assert all(r.case.endswith("rows that choose the epoch") for r in records)


def test_a_teacher_is_read_again_and_one_without_a_digest_is_taken(tmp_path, monkeypatch):
    arguments = argparse.Namespace(**{**vars(QUICK), "teachers": tmp_path})
    first = distillation_teachers.teacher("adult", "single", log(), 0, arguments)
    monkeypatch.setattr(distillation_teachers, "_trained", lambda *_: pytest.fail("trained again"))
    again = distillation_teachers.teacher("adult", "single", log(), 0, arguments)
    assert network_to_bytes(again.network) == network_to_bytes(first.network)
    assert again.seconds == first.seconds
    theirs = dnn([3])
    (tmp_path / "adult-ensemble-5.safetensors").write_bytes(network_to_bytes(theirs))
    found = distillation_teachers.teacher("adult", "ensemble", log(), 5, arguments)
    assert network_to_bytes(found.network) == network_to_bytes(theirs)
    assert found.seconds is None


def test_a_better_informed_teacher_sees_the_further_rows_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(
        distillation_teachers, "_trained", lambda log, *_: seen.append(log.train) or "teacher"
    )
    whole = log()
    for what in ("informed", "single"):
        distillation_teachers.teacher("drawn5", what, whole, 0, QUICK)
    assert seen == [whole.history, whole.train]


@pytest.mark.parametrize("name", LOGS)
def test_systems_are_full_with_one_change(name):
    found = systems(name)
    full = found[FULL]
    assert found[LABELS].teacher == "" and not found[LABELS].unseen
    assert all(system != full for other, system in found.items() if other != FULL)
    assert {*SYSTEMS} - {*found} <= {"own ensemble", "with unseen rows", "without unseen rows"}
    for system in [*found.values(), System("")]:
        CTRClassifier(**system.params)
    assert found["with hidden"].options == full.options | {"layer_weights": 0.1}


def test_a_batch_has_the_logits_of_its_rows_and_rows_nobody_saw():
    teacher, train = dnn([5]), rows(400)
    # Odd users see odd ads.
    train = train.take(np.flatnonzero(train.ids.sum(1) % 2 == 0))
    # The age follows from the ad.
    train.numeric[:, 0] = train.ids[:, 1] / 2
    taught = TaughtRows(train, INPUTS, teacher, 1)
    assert [*taught.seconds] == ["rows"] and taught.mixed is None
    taught.mix()
    feed = TaughtFeed(taught, 64, 1, unseen=True)
    pairs = {
        (int(ids[1]), float(age)) for ids, (age,) in zip(train.ids, train.numeric, strict=True)
    }
    with torch.no_grad():
        for batch in feed.batches(0):
            torch.testing.assert_close(
                batch.teacher, teacher(batch.ids, batch.numeric), rtol=1e-4, atol=1e-5
            )
            more = batch.unlabelled
            torch.testing.assert_close(
                more.teacher, teacher(more.ids, more.numeric), rtol=1e-4, atol=1e-5
            )
            assert more.rows == batch.rows and not more.known.any()
            found = zip(more.ids, more.numeric, strict=True)
            assert {(int(ids[1]), float(age)) for ids, (age,) in found} <= pairs
    whole, rest = list(feed.batches(2)), list(feed.batches(2, start=2))
    assert (whole[2].unlabelled.ids == rest[0].unlabelled.ids).all()
    assert (whole[0].unlabelled.ids != whole[1].unlabelled.ids).any()
    odd = taught.mixed.sum(2) % 2
    assert 0.3 < odd.double().mean() < 0.7
    assert len(taught.mixed) == COPIES and [*taught.seconds] == ["rows", "mixed"]
    assert logits_of(teacher, train).shape == (len(train.label),)
    plain = next(iter(TaughtFeed(taught, 64, 1, unseen=False).batches(0)))
    assert plain.unlabelled is None and plain.teacher is not None


def test_layers_of_equal_width_pair_in_order_and_without_a_map():
    assert equal_widths({"a": 8, "b": 4}, {"x": 16, "y": 8, "z": 4}) == {"a": "y", "b": "z"}
    assert equal_widths({"a": 4, "b": 8}, {"x": 8, "y": 4}) == {"a": "y"}
    student, teacher = dnn([8, 4]), dnn([16, 8, 4], seed=1)
    with pytest.raises(ValueError, match="no layers of equal width"):
        EqualWidths(student, {"teacher": dnn([5])})
    some = rows(20)
    batch = Batch(
        *(torch.from_numpy(part) for part in (some.ids, some.numeric, some.label)), torch.ones(20)
    )
    found = list(
        EqualWidths(student, {"teacher": teacher}, 2.0)(
            Outputs(student, {"teacher": teacher}, batch, True)
        )
    )
    _, own = student.hidden(batch.ids, batch.numeric)
    _, other = teacher.hidden(batch.ids, batch.numeric)
    expected = [
        2 * (own[s] - other[t]).square().mean()
        for s, t in (("hidden_0", "hidden_1"), ("hidden_1", "hidden_2"))
    ]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected))


def test_the_hint_does_not_flow_into_the_booster_but_into_net_and_tables():
    student, some = dnn([8, 4]), rows(20)
    batch = Batch(
        *(torch.from_numpy(part) for part in (some.ids, some.numeric, some.label)), torch.ones(20)
    )
    term = RocketLaunching(student, {}, 1.0, widths=(16,), dropout=0.5, seed=1)
    tables = student.embedding.weights[0].weight
    assert all(parameter is not tables for parameter in term.parameters())
    labels, hint = term(Outputs(student, {}, batch, False))
    hint.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in term.parameters())
    assert student.output.weight.grad.abs().sum() > 0 and tables.grad is not None
    student.zero_grad()
    labels.backward()
    assert all(parameter.grad is not None for parameter in term.parameters())
    assert student.output.weight.grad is None and tables.grad is not None


def test_a_table_pairs_seeds_and_tells_standard_errors():
    records = []
    for seed, (own, other) in enumerate([(0.7, 0.6), (0.9, 0.5)]):
        for system, value in (("labels", other), ("full", own)):
            for metric in ("auc", "log_loss", "calibration ratio"):
                records.append(Record("adult", system, metric, value, "", seed))
        for metric in ("auc", "log_loss"):
            records.append(
                Record("adult, minus labels", "full", f"{metric} difference", own - other, "", seed)
            )
    lines = distillation_table(records).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["adult", "-" * 6, "labels", "full"]
    # Differences 0.1 and 0.4: their deviation is 0.212, over the root of 2.
    assert "| +0.25000 ± 0.15000" in lines[3]
    assert "| 0.80000 ± 0.14142" in lines[3]


def test_students_of_one_seed_hold_the_same_auctions(measured):
    first, _ = measured("--systems", LABELS, FULL)
    second, _ = measured("--systems", FULL)
    values = [
        {
            r.metric: r.value
            for r in records
            if "auction against labels" in r.case and r.system == FULL
        }
        for records in (first, second)
    ]
    # Training rounds otherwise on other threads.
    assert values[0] == pytest.approx(values[1], rel=1e-3) and len(values[0]) == 6
    assert values[0]["welfare, low"] <= values[0]["welfare"] <= values[0]["welfare, high"]

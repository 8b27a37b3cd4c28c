"""Training files with a teacher's logits, mixed rows, and rows without labels."""

from __future__ import annotations

import itertools
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.estimator.run import _checkpoints, open_feeds, run_training
from spark_ctr.location import locate, write_file
from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.serialization import network_to_bytes
from spark_ctr.rows.labelling import FileToLabel, Labelling
from spark_ctr.rows.teacher_rows import Recombination, TeacherOfRows, with_teacher
from spark_ctr.rows.training_data import training_data
from spark_ctr.rows.unlabelled_rows import write_unlabelled
from spark_ctr.stage.columns import with_metadata
from spark_ctr.training.feeds import UnlabelledFeed
from spark_ctr.training.losses.objective import Objective
from spark_ctr.training.training_run import TrainingRun
from tests.stage.conftest import INPUTS, LATE, with_late_features

DNN = {"hidden_layers": [8], "dropout": 0.0, "batch_norm": False}


def network(inputs=INPUTS, seed=0, name="dnn", **config):
    torch.manual_seed(seed)
    found = build_network(name, inputs, config or DNN).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_()
    return found


@pytest.fixture(scope="module")
def clicks(small_clicks):
    """The log with a pair of columns that only a teacher reads."""
    late = "pmod(hash(numericFeatures), 7)"
    return with_late_features(small_clicks, late, "transform(numericFeatures, x -> x * 2)")


def columns(further=True, **changes):
    found = classifier(handleInvalid="skip", validationFraction=0.25).training_columns()
    pair = (("lateIds", "lateNumbers"),) if further else ()
    return replace(found, further=pair, **changes)


@contextmanager
def written(clicks, **changes):
    with training_data(clicks, columns(**changes)) as data:
        yield data


def tables(path):
    return [pq.ParquetFile(file).read() for file in locate(path).files]


def groups_of_rows(path):
    found = [pq.ParquetFile(file).metadata for file in locate(path).files]
    return [[m.row_group(i).num_rows for i in range(m.num_row_groups)] for m in found]


def expected_logits(net, table, prefix=""):
    width = net.inputs.ids_width
    ids = np.stack([table[f"{prefix}c{i}"].to_numpy() for i in range(width)], 1)
    numeric = np.stack([table[f"{prefix}n0"].to_numpy()], 1)
    with torch.inference_mode():
        return net(torch.from_numpy(ids), torch.from_numpy(numeric)).numpy()[:, 0]


def test_copies_hold_the_rows_and_the_mean_logits_of_the_teachers(clicks, spark):
    teachers = [TeacherOfRows(network()), TeacherOfRows(network(LATE, 1), "x0_")]
    with written(clicks) as data:
        assert data.further == (LATE,)
        found = with_teacher(spark, data, teachers)
        assert (found.teacher, found.further, found.unlabelled_path) == (1, (), None)
        assert found.folder == data.folder and found.digest == data.digest
        for part in ("train_path", "valid_path"):
            pairs = zip(tables(getattr(data, part)), tables(getattr(found, part)), strict=True)
            for source, copy in pairs:
                kept = ["c0", "c1", "n0", "label", "weight"]
                assert copy.column_names == [*kept, "t0"]
                assert copy.select(kept).equals(source.select(kept))
                both = (
                    expected_logits(teachers[0].network, source),
                    expected_logits(teachers[1].network, source, "x0_"),
                )
                assert np.allclose(copy["t0"].to_numpy(), sum(both) / 2, atol=1e-5)
                assert copy["t0"].to_numpy().std() > 0.1
            assert groups_of_rows(getattr(data, part)) == groups_of_rows(getattr(found, part))
        feed, valid = open_feeds(classifier(), found)
        assert feed.rows == data.train_rows and valid.rows == data.valid_rows
        for batch in itertools.chain(feed.batches(0), valid.batches(0)):
            assert batch.teacher.shape == (batch.rows, 1)


@pytest.mark.once
def test_a_view_is_the_same_rows_seen_through_other_columns(clicks):
    stage = classifier()
    with written(clicks) as data:
        feed, _ = open_feeds(stage, data)
        view, _ = open_feeds(stage, data.view(0))
        assert data.view(0).inputs == LATE and data.view(0).digest != data.digest
        for own, seen in zip(feed.batches(1), view.batches(1), strict=True):
            assert torch.equal(own.label, seen.label)
            assert torch.equal(own.ids[:, 0], seen.ids[:, 0])
            assert torch.equal(own.numeric * 2, seen.numeric)
    with written(clicks, further=False) as alone:
        plain = tables(alone.train_path)
        assert (alone.rows, alone.train_rows) == (data.rows, data.train_rows)
    with written(clicks.repartition(7)) as again:
        assert again.digest == data.digest
        assert [t.select(p.column_names) for t, p in zip(tables(again.train_path), plain,
                strict=True)] == plain  # fmt: skip


@pytest.mark.once
def test_invalid_further_features_are_skipped_and_those_without_tables_refused(clicks):
    late = F.when(F.col("label") == 0, F.col("lateIds")).otherwise(F.array(F.lit(99), F.lit(0)))
    metadata = {"tables": [table.to_dict() for table in LATE.tables]}
    bad = clicks.withColumn("good", F.hash("numericFeatures") % 2 == 0).select(
        "label", "categoricalFeatures", "numericFeatures", "lateNumbers",
        with_metadata(F.when(F.col("good"), F.col("lateIds")).otherwise(late), "lateIds", metadata),
    )  # fmt: skip
    with written(bad) as data:
        assert data.skipped > 20 and data.rows + data.skipped == 600
    with (
        pytest.raises(ValueError, match="rows are invalid"),
        written(bad, handle_invalid="error"),
    ):
        pass
    with written(bad, handle_invalid="keep") as data:
        assert data.skipped == 0 and data.rows == 600
        assert max(t["x0_c0"].to_numpy().max() for t in tables(data.train_path)) < 6
    plain = clicks.withColumn("lateIds", F.array(F.lit(1), F.lit(1)))
    with pytest.raises(ValueError, match="'lateIds' and 'lateNumbers' carry no table sizes"):
        training_data(plain, columns()).__enter__()


def test_neither_partitions_nor_a_second_attempt_change_a_bit(clicks, spark):
    teacher = [TeacherOfRows(network(name="dcnv2", hidden_layers=[8], cross_layers=1, dropout=0.0))]
    mixed = Recombination([["site", "age"]], copies=2, seed=-5)
    found = []
    for log in (clicks, clicks.repartition(5)):
        with written(log) as data:
            made = with_teacher(spark, data, teacher, mixed)
            assert made.unlabelled_rows == 2 * data.train_rows
            parts = made.train_path, made.valid_path, made.unlabelled_path
            found.append(([tables(path) for path in parts], made.teacher_digest))
            paths = locate(made.train_path).files
            before = [Path(path).read_bytes() for path in paths]
            network_file = Path(paths[0]).parents[2] / "networks" / "0.safetensors"
            kept = ("c0", "c1", "n0", "label", "weight")
            labelling = Labelling(((str(network_file), kept[:2], kept[2:3]),), kept)
            for source, path in zip(locate(data.train_path).files, paths, strict=True):
                labelling(FileToLabel(source, path))
                assert [file.name for file in Path(path).parent.iterdir()] == ["rows.parquet"]
            assert [Path(path).read_bytes() for path in paths] == before
    assert found[0] == found[1]


@pytest.mark.once
def test_an_attempt_that_fails_leaves_nothing(clicks, spark):
    with written(clicks) as data:
        source = locate(data.train_path).files[0]
        target = Path(data.folder.removeprefix("file://")) / "data/attempt/rows.parquet"
        write_file(f"{data.folder}/n.safetensors", network_to_bytes(network()))
        broken = Labelling(
            ((f"{data.folder}/n.safetensors", ("c0", "c1"), ("n0",)),), ("c0", "absent")
        )
        with pytest.raises(KeyError, match="absent"):
            broken(FileToLabel(source, str(target)))
        assert not list(target.parent.iterdir())


@pytest.mark.parametrize("privileged", [False, True])
def test_mixed_rows_consist_of_groups_of_their_file(clicks, spark, privileged):
    prefix, inputs = ("x0_", LATE) if privileged else ("", INPUTS)
    teacher = TeacherOfRows(network(inputs), prefix)
    with written(clicks) as data:
        made = with_teacher(
            spark, data, [teacher], Recombination([["site", "age"]], copies=2, seed=3)
        )
        again = with_teacher(
            spark, data, [teacher], Recombination([["age", "site"]], copies=1, seed=4)
        )
        sources, mixed = tables(data.train_path), tables(made.unlabelled_path)
        assert len(mixed) == 2 * len(sources)
        assert made.teacher_digest != again.teacher_digest
        assert not tables(again.unlabelled_path)[0].equals(mixed[0])
        assert not mixed[0].equals(mixed[len(sources)])
        for table, source in zip(mixed, sources * 2, strict=True):
            assert table.num_rows == source.num_rows
            assert not table["label"].to_numpy().any() and (table["weight"].to_numpy() == 1).all()
            own = {tuple(row.values()) for row in source.select(["c0", "n0"]).to_pylist()}
            assert {tuple(r.values()) for r in table.select(["c0", "n0"]).to_pylist()} <= own
            if not privileged:
                logits = expected_logits(teacher.network, table)
                assert np.allclose(table["t0"].to_numpy(), logits, atol=1e-5)
        rows = {(r["c0"], r["c1"], r["n0"]) for s in sources for r in s.to_pylist()}
        new = [(r["c0"], r["c1"], r["n0"]) for t in mixed for r in t.to_pylist()]
        assert sum(row not in rows for row in new) > 0.3 * len(new)


def unlabelled_log(clicks):
    return clicks.drop("label").filter("numericFeatures[0] > 0")


def test_unlabelled_rows_are_placed_by_their_content(clicks, spark):
    log = unlabelled_log(clicks)
    broken = F.when(F.col("numericFeatures")[0] < 1, F.col("numericFeatures"))
    bad = log.select(
        "categoricalFeatures", "lateIds", "lateNumbers",
        with_metadata(broken, "numericFeatures", {"names": ["age"]}),
    )  # fmt: skip
    with written(clicks) as data:
        one, other, less = (
            write_unlabelled(rows, columns(), data.inputs, data.folder, data.further)
            for rows in (log, log.repartition(6), bad)
        )
        assert one.rows == other.rows == log.count() and not one.skipped
        assert one.digest == other.digest != less.digest
        assert tables(one.path) == tables(other.path)
        assert (
            less.rows + less.skipped == one.rows
            and less.skipped == bad.filter("numericFeatures is null").count()
        )
        with pytest.raises(ValueError, match=f"{less.skipped} of {one.rows} unlabelled rows"):
            write_unlabelled(
                bad, columns(handle_invalid="error"), data.inputs, data.folder, data.further
            )
        teachers = [TeacherOfRows(network(LATE), "x0_")]
        made = with_teacher(spark, data, teachers, Recombination(), one, unlabelled_ratio=0.6)
        assert made.unlabelled_rows == one.rows + data.train_rows
        labelled = tables(made.unlabelled_path)[: len(tables(one.path))]
        for table, source in zip(labelled, tables(one.path), strict=True):
            logits = expected_logits(teachers[0].network, source, "x0_")
            assert np.allclose(table["t0"].to_numpy(), logits, atol=1e-5)
        stage = classifier(batchSize=64, checkpointDir="/nowhere")
        feed, _ = open_feeds(stage, made)
        assert isinstance(feed, UnlabelledFeed)
        batch = next(feed.batches(0))
        assert (batch.rows, batch.unlabelled.rows) == (64, 39)
        assert batch.unlabelled.teacher.shape == (39, 1) and not batch.unlabelled.known.any()


@pytest.mark.once
def test_what_does_not_fit_is_named_before_a_job(clicks, spark):
    other = Inputs((Table("site", 9, 4), Table("ad", 5, 2)), ("age",))
    renamed = Inputs(INPUTS.tables, ("height",))
    with written(clicks) as data:
        folder = Path(data.folder.removeprefix("file://")) / "data"
        before = sorted(folder.iterdir())
        for teachers, told in (
            ([], "at least one teacher"),
            ([TeacherOfRows(network(other))], r"other tables of the columns \['site'\]"),
            ([TeacherOfRows(network(renamed))], r"numeric columns \['height'\]"),
            ([TeacherOfRows(network(), "x1_")], "prefix 'x1_'"),
            ([TeacherOfRows(network(), "x0_")], r"categorical columns \['site', 'ad'\]"),
        ):
            with pytest.raises(ValueError, match=told):
                with_teacher(spark, data, teachers)
        teachers = [TeacherOfRows(network())]
        for groups, told in (
            ([["site", "zip"]], r"\['zip'\]"),
            ([["site"], ["ad", "site"]], "more than one group"),
        ):
            with pytest.raises(ValueError, match=told):
                with_teacher(spark, data, teachers, Recombination(groups))
        log = unlabelled_log(clicks)
        for inputs, told in (
            (other, r"unlabelled dataset .* other tables of the columns \['site'\]"),
            (renamed, r"numeric columns \['age'\]"),
        ):
            with pytest.raises(ValueError, match=told):
                write_unlabelled(log, columns(further=False), inputs, data.folder)
        with pytest.raises(ValueError, match="numericFeatures"):
            write_unlabelled(log.drop("numericFeatures"), columns(), data.inputs, data.folder)
        assert sorted(folder.iterdir()) == before
        own = write_unlabelled(log, columns(further=False), data.inputs, data.folder)
        with pytest.raises(ValueError, match=r"lack the features with prefix \['x0_'\]"):
            with_teacher(spark, data, [TeacherOfRows(network(LATE), "x0_")], unlabelled=own)


@pytest.mark.once
def test_files_that_are_not_there_are_told_of(clicks, spark):
    with written(clicks) as data:
        path = Path(locate(data.train_path).files[0])
        shutil.rmtree(path.parent)
        with pytest.raises(ValueError, match="the driver sees .* set cacheDir to a folder"):
            with_teacher(spark, data, [TeacherOfRows(network())])


@pytest.mark.once
def test_two_workers_train_on_unlabelled_rows_as_one_process_does(clicks, spark):
    terms = [{"name": "tests.stage.unlabelled_term:Unlabelled"}]
    found = []
    with written(clicks) as data:
        made = with_teacher(spark, data, [TeacherOfRows(network())], Recombination())
        # Five steps, the last of which has rows for both.
        size = 2 * math.ceil(data.train_rows / 10)
        for workers in (1, 2):
            stage = classifier(numWorkers=workers, batchSize=size, precision="float32")
            settings = replace(stage.training_settings(), recalibrate=False)
            run = TrainingRun(network(seed=1), Objective.from_dicts(terms, {}), settings, "")
            found.append(run_training(stage, made, run))
    one, two = (trained.network.state_dict() for trained in found)
    losses = [[e["train_loss"] for e in trained.history["epochs"]] for trained in found]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert losses[0][-1] < losses[0][0]
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.once
def test_checkpoints_tell_teachers_apart(clicks):
    stage = classifier(checkpointDir="/nowhere")
    with written(clicks) as data:
        run = TrainingRun(network(), Objective(), stage.training_settings(), "")
        labelled = replace(data, teacher=1, teacher_digest="one")
        others = [
            data,
            labelled,
            replace(labelled, teacher_digest="other"),
            replace(labelled, unlabelled_ratio=2.0),
            data.view(0),
        ]
        runs = [str(_checkpoints(stage, one, run)["run"]) for one in others]
    assert len({*runs}) == len(runs)


@pytest.mark.once
def test_a_module_of_the_users_own_labels_rows(clicks, spark):
    with written(clicks) as data:
        own = network(name="tests.stage.own_teacher:SumNetwork", scale=3.0)
        made = with_teacher(spark, data, [TeacherOfRows(own)])
        for table in tables(made.train_path):
            assert np.allclose(table["t0"].to_numpy(), expected_logits(own, table), atol=1e-5)

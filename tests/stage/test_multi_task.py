"""MultiTaskClassifier: which labels count, what is refused, outputs, students and 8-bit models."""

import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.multitask import MultiTaskClassificationModel, MultiTaskClassifier
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.rows.training_data import training_data
from spark_ctr.stage.columns import with_metadata
from spark_ctr.training.feeds import open_feed

pytestmark = pytest.mark.once
ROWS = 400
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def log(spark):
    """Impressions, one an hour: clicks, their times, and conversions that some clicks have."""
    draw = np.random.default_rng(3)
    rows = []
    for row in range(ROWS):
        site, ad = int(draw.integers(1, 6)), int(draw.integers(1, 4))
        click = int(draw.random() < 0.2 + 0.12 * site)
        sale = int(click and draw.random() < 0.25 * ad)
        clicked = START + timedelta(hours=row) if click else None
        rows.append((row, click, sale, clicked, 1.0, [site, ad], [float(draw.normal())]))
    schema = (
        "row int, click int, sale int, clicked timestamp, weight double, a array<int>, "
        "b array<float>"
    )
    data = spark.createDataFrame(rows, schema)
    tables = [{"name": "site", "rows": 6, "dim": 4}, {"name": "ad", "rows": 4, "dim": 4}]
    return data.select(
        *data.columns[:5],
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": ["price"]}),
    )


def classifier(**params):
    given = {
        "labelCols": ["click", "sale"],
        "tasks": {"sale": {"knownWhen": "click"}},
        "network": "shared_bottom",
        "hiddenLayers": [8],
        "networkOptions": {"tower_layers": [4]},
        "maxIter": 3,
        "batchSize": 32,
        "learningRate": 0.02,
        "validationFraction": 0.3,
        "device": "cpu",
        "verbose": False,
    }
    return MultiTaskClassifier(**given | params)


@pytest.fixture(scope="module")
def rows_of(log):
    """What is known of a dataset's labels: counts, and the labels of the training files."""

    def read(dataset, **params):
        columns = classifier(validationFraction=0.0, **params).training_columns()
        with training_data(dataset, columns) as data:
            feed = open_feed(
                data.train_path, 2, 1, n_labels=len(data.tasks), kind="pyarrow", batch_size=ROWS,
                shuffle=False, seed=0, task_scales=data.task_scales,
            )  # fmt: skip
            (batch,) = feed.batches(0)
            return data, batch

    return read


@pytest.fixture(scope="module")
def fitted(log):
    return classifier(mainTask="sale").fit(log)


@pytest.fixture(scope="module")
def entire(log):
    return classifier(network="esmm", tasks={}).fit(log)


def test_a_label_counts_where_it_is_known(log, rows_of):
    clicks, sales = (log.agg(F.sum(name)).first()[0] for name in ("click", "sale"))
    data, batch = rows_of(log)
    assert [(t.name, t.known, t.positives, t.young) for t in data.tasks] == [
        ("click", ROWS, clicks, 0),
        ("sale", clicks, sales, 0),
    ]
    assert batch.known[:, 0].all()
    assert batch.known[:, 1].equal(batch.label[:, 0] > 0)
    assert data.tasks[1].log_odds == pytest.approx(np.log(sales / (clicks - sales)))
    # Null says the same as knownWhen.
    null = log.withColumn("sale", F.when(F.col("click") == 1, F.col("sale")))
    _, other = rows_of(null, tasks={})
    assert other.known.equal(batch.known) and other.label.equal(batch.label)


@pytest.mark.parametrize("kind", ["timestamp", "string", "double"])
def test_young_labels_are_masked_counted_and_said(log, rows_of, caplog, kind):
    time = (
        F.col("clicked").cast(kind)
        if kind != "string"
        else F.date_format("clicked", "yyyy-MM-dd'T'HH:mm:ssXXX")
    )
    dataset = log.withColumn("clicked", time)
    rule = {"knownWhen": "click", "timeCol": "clicked", "matureAfter": 30 * 3600}
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        data, batch = rows_of(dataset, tasks={"sale": rule})
    last = log.where("click = 1").agg(F.max("row")).first()[0]
    young = log.where(f"click = 1 AND row > {last - 30}").count()
    clicks = log.where("click = 1").count()
    assert young > 0
    assert (data.tasks[1].young, data.tasks[1].known) == (young, clicks - young)
    assert int(batch.known[:, 1].sum()) == clicks - young
    assert f"task 'sale': {young} rows are younger than matureAfter" in caplog.text


def test_of_the_entire_space_rows_without_a_click_are_known_at_once(log, rows_of):
    rule = {"timeCol": "clicked", "matureAfter": 30 * 3600}
    data, batch = rows_of(log, network="esmm", tasks={"sale": rule})
    clicks, young = log.where("click = 1").count(), data.tasks[1].young
    assert [t.name for t in data.tasks] == ["click", "sale", "ctcvr"]
    assert [t.known for t in data.tasks] == [ROWS, clicks - young, ROWS - young]
    both = batch.label[:, 0] * batch.label[:, 1]
    assert batch.label[:, 2][batch.known[:, 2]].equal(both[batch.known[:, 2]])


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        ("IF(row = 7, 2, sale)", {}, "1 of 400 rows are invalid.*'click', 'sale'"),
        ("CAST(NULL AS INT)", {}, "'sale' of task 'sale' has 0 zeros and 0 ones.*null.*400"),
        ("IF(sale = 1, NULL, 0)", {"tasks": {}}, "'sale' of task 'sale'.* 0 ones"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(log, change, params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).fit(log.withColumn("sale", F.expr(change)))


def test_weights_of_zero_name_the_column_and_the_task(log):
    no_sales = log.withColumn("weight", F.when(F.col("sale") == 1, 0.0).otherwise(1.0))
    with pytest.raises(ValueError, match="'weight' is 0 in all .* label 1 of task 'sale'"):
        classifier(weightCol="weight").fit(no_sales)
    with pytest.raises(ValueError, match="weight 0"):
        classifier(tasks={"click": {"weight": 0.0}, "sale": {"weight": 0}}).fit(log)


VALUED = {"sale": {"knownWhen": "click", "weightCol": "value"}}


def test_a_task_has_weights_of_its_own_where_its_label_is_known(log, rows_of):
    # Where the label is not known the weight may be anything.
    valued = log.withColumn("value", F.expr("IF(click = 1, row % 5, IF(row % 2 = 0, NULL, -1))"))
    data, batch = rows_of(valued, weightCol="weight", tasks=VALUED)
    sums = valued.where("click = 1").groupBy("sale").agg(F.sum("value")).collect()
    sold, rest = (dict(sums)[sale] for sale in (1, 0))
    assert data.tasks[1].log_odds == pytest.approx(np.log(sold / rest))
    assert data.tasks[0].log_odds == pytest.approx(rows_of(log)[0].tasks[0].log_odds)
    assert data.label_weights == ["label_weight0", "label_weight1"]
    known = batch.known[:, 1]
    assert (batch.label_weight[:, 0] == 1).all() and not batch.label_weight[~known, 1].any()
    assert float(batch.label_weight[known, 1].mean()) == pytest.approx(1.0)
    cents = valued.withColumn("value", F.col("value") * 100)
    _, other = rows_of(cents, weightCol="weight", tasks=VALUED)
    assert other.ids.equal(batch.ids)
    np.testing.assert_allclose(other.label_weight, batch.label_weight, rtol=1e-6)


def test_weights_of_a_task_count_in_its_figures_alone(log, fitted):
    plain = {"mainTask": "sale", "tasks": VALUED}
    equal = classifier(**plain).fit(log.withColumn("value", F.lit(3)))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            equal.torchNetwork.state_dict().values(),
            fitted.torchNetwork.state_dict().values(),
            strict=True,
        )
    )
    assert equal.summary.operating == fitted.summary.operating
    half = log.withColumn("value", F.expr("int(row % 2 = 0)"))
    weighted = classifier(**plain).fit(half).summary.history["epochs"][0]["tasks"]
    assert weighted["sale"] != equal.summary.history["epochs"][0]["tasks"]["sale"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("IF(sale = 1, NULL, 1)", "weight of a task.*: .*weightCol of tasks 'value'"),
        ("-1", "weight of a task is null, negative.*'value'"),
        ("IF(sale = 1, 0, 1)", "weightCol 'value' of tasks is 0 in all .* label 1 of task 'sale'"),
        ("'a'", "'value' .weightCol of tasks. has type string"),
    ],
)
def test_weights_of_a_task_that_cannot_be_name_their_column(log, value, message):
    dataset = log.withColumn("value", F.expr(value))
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(tasks=VALUED).fit(dataset)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"labelCols": ["click"]}, "two tasks or more"),
        ({"tasks": {"buy": {}}}, r"\['buy'\]"),
        ({"network": "dnn"}, "of one task.*'mmoe'"),
        ({"network": "esmm", "labelCols": ["click", "sale", "weight"]}, "a click and a conversion"),
        ({"mainTask": "buy"}, "mainTask is 'buy'.*click, sale"),
        ({"monitorTask": "buy"}, "monitorTask is 'buy'.*click, sale"),
        ({"jointTask": "click"}, "two tasks have the name 'click'"),
        ({"negativeSamplingRate": 0.5}, "negativeSamplingRate"),
        ({"tasks": {"sale": {"knownWhen": "clik"}}}, "'clik'.*knownWhen"),
        ({"network": "esmm", "tasks": {}, "taskWeighting": "pcgrad"}, "none that tasks share"),
    ],
)
def test_params_that_cannot_be_are_refused_before_a_job(log, params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).fit(log)


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ({"sale": 3}, TypeError, "a dict of a dict"),
        ({"sale": {"wait": 3}}, ValueError, "wait; valid keys: name, weight, weightCol"),
        ({"sale": {"weight": -1}}, ValueError, r"\['weight'\] must be at least 0"),
        ({"sale": {"timeCol": "clicked"}}, ValueError, "timeCol and matureAfter together"),
    ],
)
def test_what_is_said_of_tasks_is_checked_when_it_is_set(tasks, error, message):
    with pytest.raises(error, match=message):
        MultiTaskClassifier(tasks=tasks)


def test_each_task_has_its_outputs_and_the_main_one_the_plain_ones(log, fitted):
    assert fitted.taskNames == ("click", "sale")
    out = fitted.transform(log)
    added = [name for name in out.columns if name not in log.columns]
    kinds = ("rawPrediction", "probability", "prediction")
    assert added == [f"{kind}{task}" for task in ("_click", "_sale", "") for kind in kinds]
    rows = out.select("probability", "probability_sale", "probability_click").collect()
    assert all(plain == sale for plain, sale, _ in rows)
    logits = fitted._serving()(*features(log))
    found = np.array([[row[2][1], row[1][1]] for row in rows])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits.astype(float))), rtol=1e-6)
    assert np.array_equal(fitted.predictor()(*features(log)), logits[:, 1])
    clicked = out.where("click = 1")
    assert BinaryClassificationEvaluator(labelCol="sale").evaluate(clicked) > 0.6
    assert set(fitted.summary.tasks) == {"click", "sale"}
    best = fitted.summary.history["epochs"][fitted.summary.history["best_epoch"]]
    assert set(best["tasks"]) == {"click", "sale"}
    renamed = fitted.copy({fitted.probabilityCol: "p"}).transform(log)
    assert {"p", "p_click", "p_sale"} <= {*renamed.columns}


def features(log):
    rows = log.select("categoricalFeatures", "numericFeatures").collect()
    return (
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32),
    )


def test_esmm_exposes_the_conversion_and_keeps_the_product(log, entire, tmp_path):
    assert entire.taskNames == ("click", "sale", "ctcvr")
    entire.save(str(tmp_path / "model"))
    loaded = MultiTaskClassificationModel.load(str(tmp_path / "model"))
    names = [f"probability_{task}" for task in entire.taskNames]
    rows = np.array([[p[1] for p in row] for row in loaded.transform(log).select(*names).collect()])
    np.testing.assert_allclose(rows[:, 2], rows[:, 0] * rows[:, 1], rtol=1e-5)
    logits = entire._serving()(*features(log))
    assert np.array_equal(loaded._serving()(*features(log)), logits)


def test_a_student_of_several_tasks_learns_from_a_teacher_and_is_quantised(log, entire):
    # The product is a task of the student's too, so that it can follow a teacher of all three.
    student = classifier(jointTask="ctcvr", hiddenLayers=[4], maxIter=2)
    wanted = {"recombine": False, "compareWithLabels": False}
    with pytest.raises(ValueError, match="same labels: .*ctcvr"):
        teacher = classifier(tasks={}, network="esmm", maxIter=1)
        LayerwiseDistiller(teacher=teacher, student=classifier(tasks={}), **wanted).fit(log)
    distiller = LayerwiseDistiller(
        teacher=entire,
        student=student,
        **wanted | {"recombine": True, "recombinedCopies": 1},
    )
    quantizer = MixedPrecisionQuantizer(classifier=distiller, maxIter=1, tolerance=1.0)
    model = quantizer.fit(log)
    assert model.taskNames == entire.taskNames
    assert isinstance(model.fullPrecisionModel, MultiTaskClassificationModel)
    assert model.fullPrecisionModel.teacher.uid == entire.uid
    out = model.transform(log)
    full = model.fullPrecisionModel.transform(log)
    names = [f"probability_{task}" for task in model.taskNames] + ["probability"]
    found, wide = (
        np.array([[p[1] for p in row] for row in one.select(*names).collect()])
        for one in (out, full)
    )
    assert np.abs(found - wide).max() < 0.05
    assert set(model.summary.tasks) == {*model.taskNames}


def test_esmm_itself_is_refused_by_the_quantiser_with_the_way_out(log):
    stage = MixedPrecisionQuantizer(classifier=classifier(network="esmm", tasks={}))
    with pytest.raises(ValueError, match="'esmm' cannot be quantised.*Distil it"):
        stage.fit(log)


def test_a_classifier_of_one_task_names_the_one_of_several(log):
    stage = CTRClassifier(labelCol="click", network="mmoe", verbose=False)
    with pytest.raises(ValueError, match="MultiTaskClassifier"):
        stage.fit(log)

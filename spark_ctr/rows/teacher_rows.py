"""Training files with a teacher's logits, and further files of rows that nobody saw."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
from pyspark.sql import SparkSession

from spark_ctr.location import filesystem_of, locate, write_file
from spark_ctr.networks.network import Network
from spark_ctr.networks.serialization import network_to_bytes
from spark_ctr.rows.labelling import FileToLabel, Labelling
from spark_ctr.rows.split import feature_names
from spark_ctr.rows.training_checks import TrainingData
from spark_ctr.rows.training_columns import check_same_inputs, further_prefix
from spark_ctr.rows.training_data import full_disk_told
from spark_ctr.rows.training_files import row_count
from spark_ctr.rows.training_rows import TRAIN, UNLABELLED, VALID
from spark_ctr.rows.unlabelled_rows import UnlabelledRows
from spark_ctr.tables import Inputs


@dataclass(frozen=True)
class TeacherOfRows:
    """A network that labels rows, and the prefix of the columns that it reads ("" or "x0_" ..)."""

    network: Network
    prefix: str = ""

    @property
    def columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Columns of the files that hold its ids, and its numbers."""
        names = tuple(feature_names(self.network.inputs, self.prefix))
        width = self.network.inputs.ids_width
        return names[:width], names[width:]


@dataclass(frozen=True)
class Recombination:
    """Rows mixed from the training rows of each file.

    Attributes
    ----------
    groups : sequence of sequence of str
        Names of columns that come from one row; a column in no group is one by itself. Columns of
        one name stay together, also where only a teacher reads one of them.
    copies : int
        Mixed rows for each training row.
    seed : int
    """

    groups: Sequence[Sequence[str]] = ()
    copies: int = 1
    seed: int = 0


def with_teacher(
    spark: SparkSession,
    data: TrainingData,
    teachers: Sequence[TeacherOfRows],
    recombination: Recombination | None = None,
    unlabelled: UnlabelledRows | None = None,
    unlabelled_ratio: float = 1.0,
) -> TrainingData:
    """Write copies of the training files with the mean logits of teachers, a task a file.

    The copies have the same rows, order and row groups, but not the features that only teachers
    read. They lie in the folder of `data`, and go with it.

    Parameters
    ----------
    spark : SparkSession
    data : TrainingData
    teachers : sequence of TeacherOfRows
        Of any architectures; each must read the features of its prefix in `data`.
    recombination : Recombination, optional
        Mixed rows to label as well.
    unlabelled : UnlabelledRows, optional
        Rows to label as well.
    unlabelled_ratio : float
        See `TrainingData`.

    Returns
    -------
    TrainingData
        Of the copies.

    Raises
    ------
    ValueError
        Before any job: for no teacher, teachers of other columns or tasks, or groups of columns
        that are not there. After it: where driver and executors do not see the same files.
    OSError
        For a full disk.
    """
    prefixes = _check_teachers(data, teachers, unlabelled)
    groups = _grouped_columns(prefixes, recombination) if recombination else ()
    networks = [network_to_bytes(teacher.network) for teacher in teachers]
    target = f"{data.folder}/data/teacher-{uuid.uuid4().hex}"
    files = _copies(data.train_path, f"{target}/split={TRAIN}")
    copies, seed = (recombination.copies, recombination.seed) if recombination else (0, 0)
    mixed = [
        FileToLabel(
            file.source,
            f"{target}/split={UNLABELLED}/of=mixed/copy={copy}/file={number}/rows.parquet",
            (seed % 2**64, number, copy),
        )
        for copy in range(copies)
        for number, file in enumerate(files)
    ]
    if data.valid_rows:
        files += _copies(data.valid_path, f"{target}/split={VALID}")
    if unlabelled is not None:
        files += _copies(unlabelled.path, f"{target}/split={UNLABELLED}/of=given")
    further = copies * data.train_rows + (unlabelled.rows if unlabelled else 0)
    paths = [f"{target}/networks/{k}.safetensors" for k in range(len(teachers))]
    tasks = len(teachers[0].network.tasks)
    values = [*feature_names(data.inputs), *data.labels, "weight", *data.label_weights]
    labelling = Labelling(
        tuple((path, *one.columns) for path, one in zip(paths, teachers, strict=True)),
        tuple(values),
        groups,
    )
    needed = 4 * (len(values) + tasks) * (data.train_rows + data.valid_rows + further)
    with full_disk_told("the teacher's logits", data.folder, lambda: needed):
        for path, network in zip(paths, networks, strict=True):
            write_file(path, network)
        _run(spark, labelling, files + mixed, data.folder)
    expected = {TRAIN: data.train_rows, VALID: data.valid_rows, UNLABELLED: further}
    _check_seen(target, expected, data.folder)
    return replace(
        data,
        train_path=f"{target}/split={TRAIN}",
        valid_path=f"{target}/split={VALID}",
        further=(),
        teacher=tasks,
        unlabelled_path=f"{target}/split={UNLABELLED}" if further else None,
        unlabelled_rows=further,
        unlabelled_ratio=unlabelled_ratio,
        teacher_digest=_digest(data, teachers, networks, recombination, unlabelled),
    )


def _check_teachers(
    data: TrainingData, teachers: Sequence[TeacherOfRows], unlabelled: UnlabelledRows | None
) -> dict[str, Inputs]:
    """Check the teachers; return the inputs of each prefix that files to label are read with."""
    if not teachers:
        raise ValueError("rows need at least one teacher to label them")
    known = {"": data.inputs}
    known |= {further_prefix(k): inputs for k, inputs in enumerate(data.further)}
    read = {"": data.inputs}
    for number, teacher in enumerate(teachers):
        if teacher.prefix not in known:
            raise ValueError(
                f"teacher {number} reads columns with prefix {teacher.prefix!r}, the training "
                f"files have {list(known)}"
            )
        what = f"teacher {number}"
        check_same_inputs(teacher.network.inputs, known[teacher.prefix], what)
        if teacher.network.tasks != teachers[0].network.tasks:
            raise ValueError(
                f"teacher {number} has the tasks {list(teacher.network.tasks)}, the first has "
                f"{list(teachers[0].network.tasks)}: take teachers of the same tasks"
            )
        read[teacher.prefix] = known[teacher.prefix]
    lacking = [] if unlabelled is None else [p for p in read if p not in unlabelled.prefixes]
    if lacking:
        raise ValueError(
            f"the unlabelled rows lack the features with prefix {lacking} that a teacher reads: "
            "write them with these columns"
        )
    return read


def _grouped_columns(
    prefixes: dict[str, Inputs], recombination: Recombination
) -> tuple[tuple[str, ...], ...]:
    """Return the files' feature columns in groups."""
    if recombination.copies < 1:
        raise ValueError(f"copies of a recombination must be at least 1: {recombination.copies}")
    columns: dict[str, list[str]] = {}
    for prefix, inputs in prefixes.items():
        of_slots = [table.name for table in inputs.slot_tables]
        names = [*of_slots, *inputs.numeric]
        for name, column in zip(names, feature_names(inputs, prefix), strict=True):
            columns.setdefault(name, []).append(column)
    given = [name for group in recombination.groups for name in group]
    unknown = sorted({*given} - {*columns})
    if unknown:
        raise ValueError(f"groups name the columns {unknown}; there are {list(columns)}")
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise ValueError(f"columns {twice} are in more than one group")
    alone = [[name] for name in columns if name not in given]
    groups = [*recombination.groups, *alone]
    return tuple(tuple(c for name in group for c in columns[name]) for group in groups if group)


def _copies(folder: str, target: str) -> list[FileToLabel]:
    """Return the files of a folder, each with its place below another folder."""
    location, (_, base, _) = locate(folder), filesystem_of(folder)
    below = [path.removeprefix(f"{base}/").rpartition("/")[0] for path in location.files]
    return [
        FileToLabel(url, f"{target}/{name}/rows.parquet")
        for url, name in zip(location.urls, below, strict=True)
    ]


def _run(
    spark: SparkSession, labelling: Callable[[FileToLabel], int], files: list[FileToLabel], at: str
) -> None:
    """Label the files, one a partition."""

    def label(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            rows = [labelling(files[number]) for number in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_pydict({"rows": pa.array(rows, pa.int64())})

    numbers = spark.range(0, len(files), 1, len(files))
    try:
        numbers.mapInArrow(label, "rows long").collect()
    except Exception as error:
        if "FileNotFoundError" in str(error):
            raise ValueError(
                f"the executors do not see the training files under {at}: set cacheDir to a folder "
                "that the driver and all executors share"
            ) from error
        raise


def _check_seen(target: str, expected: dict[str, int], folder: str) -> None:
    for split, rows in expected.items():
        found = row_count(f"{target}/split={split}")
        if found != rows:
            raise ValueError(
                f"the driver sees {found} of the {rows} rows ({split}) that a teacher labelled "
                f"under {folder}: set cacheDir to a folder that the driver and all executors share"
            )


def _digest(
    data: TrainingData,
    teachers: Sequence[TeacherOfRows],
    networks: Sequence[bytes],
    recombination: Recombination | None,
    unlabelled: UnlabelledRows | None,
) -> str:
    parts = [
        data.digest,
        [one.prefix for one in teachers],
        [hashlib.sha256(network).hexdigest() for network in networks],
        recombination and asdict(recombination),
        unlabelled and unlabelled.digest,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

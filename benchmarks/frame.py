"""The frame every benchmark runs in: arguments, records, table, JSON, Spark session.

A benchmark is a generator of `Record`, handed to `run`, which prints what machine it ran on,
writes each record as soon as it is measured, and prints a table of all systems side by side.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import PeakMemory, cpu_seconds, machine, seconds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OURS = "spark_ctr"
# Quality varies with the seed and is averaged; costs have outliers on one side, so their median.
QUALITY = frozenset({"auc", "log_loss"})


@dataclass(frozen=True)
class Record:
    """One measured number.

    Attributes
    ----------
    case : str
        What was done, on which data.
    system : str
        Who did it: ``"spark_ctr"`` or a peer's own name.
    metric, unit : str
        What was measured, and its unit; ``""`` for a pure number.
    value : float
        Finite.
    seed : int

    Raises
    ------
    ValueError
        For a value that is not finite.
    """

    case: str
    system: str
    metric: str
    value: float
    unit: str
    seed: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.case}, {self.system}: {self.metric} is {self.value}")


@dataclass(frozen=True)
class Summary:
    """Records of one case, metric and system over seeds and repeats.

    Attributes
    ----------
    centre : float
        Mean of a quality metric, median of any other.
    spread : float or None
        Standard deviation (n - 1) of a quality metric; None for one value or another metric.
    count : int
    """

    centre: float
    spread: float | None
    count: int


def run(
    measure: Callable[[argparse.Namespace], Iterable[Record]],
    description: str,
    *,
    peer: str | None = None,
    seeds: Sequence[int] = (0,),
    options: Callable[[argparse.ArgumentParser], object] | None = None,
    argv: Sequence[str] | None = None,
) -> list[Record]:
    """Run a benchmark from its command line.

    Parameters
    ----------
    measure
        Yields records; gets the parsed arguments ``quick``, ``json``, ``seeds`` and ``master``.
    description
        Text of ``--help``; the benchmark's docstring.
    peer
        System that the table's ratios divide by, if it was run.
    seeds
        Default of ``--seeds``.
    options
        Adds the benchmark's own arguments to the parser.
    argv
        Command line without the program's name, ``sys.argv`` if None.

    Returns
    -------
    list of Record
    """
    arguments = _parse(description, seeds, options, argv)
    print("\n".join([f"seeds {', '.join(map(str, arguments.seeds))}", *machine()]), flush=True)
    records = []
    for record in measure(arguments):
        records.append(record)
        found = f"{record.metric} {_cell(record.metric, _summary([record.value], False))}"
        print(f"{record.case}, {record.system}: {found} {record.unit}", file=sys.stderr, flush=True)
        if arguments.json is not None:
            append_record(arguments.json, record)
    # Arguments of a benchmark may leave its peer out.
    ran = any(record.system == peer for record in records)
    print("\n" + table(records, peer if ran else None))
    return records


def append_record(path: Path, record: Record) -> None:
    """Append a record to a file of one JSON object a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def read_records(path: Path) -> list[Record]:
    """Read what `append_record` wrote.

    Raises
    ------
    ValueError
        For a line that is not a record; names file and line.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            records.append(Record(**json.loads(line)))
        except (TypeError, ValueError) as error:
            names = ", ".join(field.name for field in fields(Record))
            raise ValueError(f"{path}, line {number} is no record of {names}: {error}") from error
    return records


def summarise(records: Iterable[Record]) -> dict[tuple[str, str, str, str], Summary]:
    """Summaries by (case, metric, unit, system), in the order the records came in."""
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for record in records:
        key = record.case, record.metric, record.unit, record.system
        groups.setdefault(key, []).append(record.value)
    return {key: _summary(values, key[1] in QUALITY) for key, values in groups.items()}


def table(records: Sequence[Record], peer: str | None = None) -> str:
    """Table in Markdown: a row per case and metric, a column per system, ours first.

    Ratios to the peer follow, of all metrics but quality, for every system that has one. A cell of
    more than one value says how many.

    Raises
    ------
    ValueError
        If the peer has no record.
    """
    summaries = summarise(records)
    systems = sorted(dict.fromkeys(key[3] for key in summaries), key=lambda name: name != OURS)
    if peer is not None and peer not in systems:
        raise ValueError(f"no record of {peer!r}; the systems are {', '.join(systems)}")
    columns: dict[str, list[str]] = {name: [] for name in ("case", "metric", *systems)}
    for case, metric, unit in dict.fromkeys(key[:3] for key in summaries):
        columns["case"].append(case)
        columns["metric"].append(f"{metric}, {unit}" if unit else metric)
        found = {name: summaries.get((case, metric, unit, name)) for name in systems}
        for name in systems:
            columns[name].append(_cell(metric, found[name]))
            if peer is not None and name != peer:
                ratio = _ratio(metric, found[name], found[peer])
                columns.setdefault(f"{name} / {peer}", []).append(ratio)
    return markdown({head: cells for head, cells in columns.items() if any(cells)})


def in_new_process(work: Callable[..., Iterable[Record]], *arguments: object) -> Iterator[Record]:
    """Yield the records of ``work(*arguments)`` as they come, from a new process.

    It starts with a JVM of its own, so nothing that ran before has warmed it or filled its memory.

    Parameters
    ----------
    work
        Function of a module's top level.

    Raises
    ------
    RuntimeError
        If the process fails; its traceback is on standard error.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_records, args=(sender, work, arguments))
    process.start()
    sender.close()  # so that the end of the process ends the stream
    try:
        while True:
            yield receiver.recv()
    except EOFError:
        process.join()
    finally:
        if process.is_alive():  # the consumer stopped early
            process.terminate()
            process.join()
    if process.exitcode:
        raise RuntimeError(f"{work.__name__} failed with exit status {process.exitcode}")


def _send_records(
    sender: Connection, work: Callable[..., Iterable[Record]], arguments: Sequence[object]
) -> None:
    for record in work(*arguments):
        sender.send(record)


def cold_and_warm(
    case: str, system: str, work: Callable[[], object], repeats: int, seed: int
) -> Iterator[Record]:
    """Measure a first run, then `repeats` runs after two more, and the peak memory of all."""
    with PeakMemory() as memory:
        yield Record(case, system, "time, cold", seconds(work)[0], "s", seed)
        seconds(work, 2)
        for _ in range(repeats):
            before = cpu_seconds()
            (taken,) = seconds(work)
            used = cpu_seconds() - before
            yield Record(case, system, "time, warm", taken, "s", seed)
            yield Record(case, system, "CPU time, warm", used, "s", seed)
    yield Record(case, system, "peak memory", memory.mebibytes, "MiB", seed)


def spark_session(master: str, name: str, more: Mapping[str, str] | None = None) -> SparkSession:
    """Return a session, with ``more`` settings, whose Python workers run this interpreter."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    settings = {
        "spark.driver.memory": "3g",
        "spark.sql.shuffle.partitions": "8",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **(more or {}),
    }
    builder = SparkSession.builder.appName(name).master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _parse(
    description: str,
    seeds: Sequence[int],
    options: Callable[[argparse.ArgumentParser], object] | None,
    argv: Sequence[str] | None,
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small data: does it run at all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the records to a file")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds), metavar="SEED")
    parser.add_argument("--master", default="local[2]", help="Spark master (default: %(default)s)")
    if options is not None:
        options(parser)
    return parser.parse_args(argv)


def _summary(values: list[float], quality: bool) -> Summary:
    if not quality:
        return Summary(statistics.median(values), None, len(values))
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), spread, len(values))


def _ratio(metric: str, one: Summary | None, peer: Summary | None) -> str:
    if one is None or peer is None or metric in QUALITY or peer.centre == 0:
        return ""
    return f"{one.centre / peer.centre:.2f}"


def _cell(metric: str, summary: Summary | None) -> str:
    if summary is None:
        return ""
    text = f"{summary.centre:.4f}" if metric in QUALITY else _number(summary.centre)
    if summary.spread is not None:
        text += f" ± {summary.spread:.4f}"
    return text if summary.count == 1 else f"{text} (n={summary.count})"


def _number(value: float) -> str:
    """Three significant digits, whole numbers from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(columns: dict[str, list[str]]) -> str:
    """Lay out columns by their heads as a table in Markdown."""
    padded = []
    for head, cells in columns.items():
        width = max(map(len, [head, *cells]))
        padded.append([head.ljust(width), "-" * width, *(cell.ljust(width) for cell in cells)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*padded, strict=True))

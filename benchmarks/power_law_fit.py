"""Power-law fits, p-values and likelihood ratios on the histogram, beside powerlaw and igraph.

``fit`` is everything from an array of values to exponent and xmin, searched over all distinct
values. The values are draws of the discrete law with exponent 1.8 and xmin 1, or the word counts
of Moby Dick where the reference data lie beside the repository. ``powerlaw`` fits exactly
(``estimate_discrete=False``), with the exponent free up to 100. igraph is optional (it is GPL); it
cannot fit without a p-value, so its fits contain the fewest synthetic sets it draws, four.
``np.unique`` is the part of our fit that depends on the number of values: in Spark it is a
``groupBy``, and the rest of the fit is the row of the histogram.

``p-value`` is the semiparametric bootstrap with as many synthetic sets as the case says, 1 / (4
precision**2). ``likelihood ratios`` compares the law with four alternatives; the ratios are
normalised, and negative ones favour the alternative; those of log-normal and stretched exponential
depend on where an optimiser stops on its way to the law that both approach (see
`spark_ctr.power_law.alternatives`). Times are medians over repeats, one for
powerlaw.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.frame import OURS, Record, run
from benchmarks.measure import seconds
from spark_ctr.power_law import (
    CountHistogram,
    bootstrap_test,
    compare_alternatives,
    draw_zeta,
    fit_continuous,
    fit_discrete,
)

try:
    import powerlaw
except ImportError as error:
    sys.exit(f"benchmarks.power_law_fit needs its peer ({error}): pip install powerlaw")
try:
    import igraph
except ImportError:
    igraph = None

POWERLAW, IGRAPH = "powerlaw", "igraph"
ALPHA = 1.8
COLUMNS = 10


def _values(size: int, seed: int) -> np.ndarray:
    hist = draw_zeta(ALPHA, 1, size, np.random.default_rng(seed))
    return np.random.default_rng(seed).permutation(np.repeat(hist.values, hist.multiplicities))


def _words() -> np.ndarray | None:
    beside = Path(__file__).parents[2] / "shared"
    file = Path(os.environ.get("SPARK_CTR_SHARED", beside)) / "data/powerlaw/words.txt"
    if not file.is_file():
        print("without words.txt: the reference data are not beside the repository")
        return None
    return np.loadtxt(file).astype(np.int64)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield


def _timed(call: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    results: list[Any] = []
    return seconds(lambda: results.append(call()), repeats), results[-1]


def _answer(
    case: str,
    system: str,
    times: list[float],
    alpha: float,
    xmin: float,
    distance: float,
    seed: int,
) -> Iterator[Record]:
    for time in times:
        yield Record(case, system, "time", time, "s", seed)
    yield Record(case, system, "alpha", float(alpha), "", seed)
    yield Record(case, system, "xmin", float(xmin), "", seed)
    yield Record(case, system, "KS distance x 1000", 1000 * float(distance), "", seed)


def _fits(name: str, values: np.ndarray, seed: int, repeats: int) -> Iterator[Record]:
    case = f"fit, {name}"
    times, fit = _timed(lambda: fit_discrete(CountHistogram.from_counts(values)), repeats)
    yield from _answer(case, OURS, times, fit.alpha, fit.xmin, fit.ks_distance, seed)
    for time in seconds(lambda: np.unique(values, return_counts=True), repeats):
        yield Record(f"np.unique, {name}", OURS, "time", time, "s", seed)
    hist = CountHistogram.from_counts(values)
    yield from _histogram_fit(f"fit of the histogram, {name}", hist, seed, repeats)
    if igraph is not None:
        taken, theirs = _timed(
            lambda: igraph.power_law_fit(values.tolist(), method="discrete", p_precision=0.25), 1
        )
        answer = theirs.alpha, theirs.xmin, theirs.D
        yield from _answer(case, IGRAPH, taken, *answer, seed)
    with _silence():
        taken, law = _timed(lambda: _powerlaw(values, discrete=True), 1)
        answer = law.alpha, law.xmin, law.D
    yield from _answer(case, POWERLAW, taken, *answer, seed)
    yield Record(case, OURS, "powerlaw's time / ours", taken[0] / median(times), "ratio", seed)
    yield Record(case, OURS, "alpha minus powerlaw's", fit.alpha - law.alpha, "", seed)


def _powerlaw(values: np.ndarray, discrete: bool) -> Any:
    return powerlaw.Fit(
        values,
        discrete=discrete,
        estimate_discrete=False,
        parameter_ranges={"alpha": (1, 100)},
        verbose=0,
    )


def _histogram_fit(case: str, hist: CountHistogram, seed: int, repeats: int) -> Iterator[Record]:
    times, fit = _timed(lambda: fit_discrete(hist), repeats)
    yield from _answer(case, OURS, times, fit.alpha, fit.xmin, fit.ks_distance, seed)
    yield Record(case, OURS, "distinct counts", float(len(hist.values)), "", seed)


def _p_values(name: str, values: np.ndarray, seed: int, repeats: int) -> Iterator[Record]:
    hist = CountHistogram.from_counts(values)
    fit = fit_discrete(hist)
    for precision in (0.1, 0.05):
        case = f"p-value, {round(0.25 / precision**2)} sets, {name}"
        times, test = _timed(
            lambda precision=precision: bootstrap_test(hist, fit, precision, seed), repeats
        )
        for time in times:
            yield Record(case, OURS, "time", time, "s", seed)
        yield Record(case, OURS, "p", test.p_value, "", seed)
        if igraph is not None:
            (time,), theirs = _timed(
                lambda precision=precision: igraph.power_law_fit(
                    values.tolist(), method="discrete", p_precision=precision
                ),
                1,
            )
            yield Record(case, IGRAPH, "time", time, "s", seed)
            yield Record(case, IGRAPH, "p", theirs.p, "", seed)


def _ratios(name: str, values: np.ndarray, seed: int, repeats: int) -> Iterator[Record]:
    case = f"likelihood ratios, {name}"
    hist = CountHistogram.from_counts(values)
    fit = fit_discrete(hist)
    times, (comparisons, _) = _timed(lambda: compare_alternatives(hist, fit), repeats)
    for time in times:
        yield Record(case, OURS, "time", time, "s", seed)
    with _silence():
        law = powerlaw.Fit(values, discrete=True, estimate_discrete=False, xmin=fit.xmin, verbose=0)
        (time,), theirs = _timed(
            lambda: {
                c.name: law.distribution_compare("power_law", c.name, normalized_ratio=True)
                for c in comparisons
            },
            1,
        )
    yield Record(case, POWERLAW, "time", time, "s", seed)
    for comparison in comparisons:
        ratio, p_value = theirs[comparison.name]
        metrics = f"ratio to {comparison.name}", f"p of {comparison.name}"
        yield Record(case, OURS, metrics[0], comparison.normalized_ratio, "", seed)
        yield Record(case, OURS, metrics[1], comparison.p_value, "", seed)
        if np.isfinite(ratio) and np.isfinite(p_value):
            yield Record(case, POWERLAW, metrics[0], float(ratio), "", seed)
            yield Record(case, POWERLAW, metrics[1], float(p_value), "", seed)


def _continuous(size: int, seed: int, repeats: int) -> Iterator[Record]:
    values = 1 + np.random.default_rng(seed).pareto(ALPHA - 1, size)
    case = f"continuous fit, {size:,} values"
    # the package tries every value, and needs no shortest tail
    times, fit = _timed(lambda: fit_continuous(values, max_candidates=size, min_tail=2), repeats)
    yield from _answer(case, OURS, times, fit.alpha, fit.xmin, fit.ks_distance, seed)
    with _silence():
        taken, law = _timed(lambda: _powerlaw(values, discrete=False), 1)
        answer = law.alpha, law.xmin, law.D
    yield from _answer(case, POWERLAW, taken, *answer, seed)


def _report(seed: int, repeats: int) -> Iterator[Record]:
    """Time the p-values and ratios of a selector's report of ten columns, default settings."""
    rng = np.random.default_rng(seed)
    columns = [draw_zeta(a, 1, 100_000, rng) for a in np.linspace(1.5, 2.5, COLUMNS)]
    fits = [fit_discrete(hist) for hist in columns]
    case = f"report of {COLUMNS} columns of 100,000 values"
    for metric, work in (
        ("fits", fit_discrete),
        ("p-values", lambda hist: bootstrap_test(hist, fits[columns.index(hist)])),
        ("ratios", lambda hist: compare_alternatives(hist, fits[columns.index(hist)])),
    ):
        for time in seconds(lambda work=work: [work(hist) for hist in columns], repeats):
            yield Record(case, OURS, f"time of {metric}", time, "s", seed)


def measure(arguments: argparse.Namespace) -> Iterator[Record]:
    """Measure ours and the peers, case by case."""
    if igraph is None:
        print("without igraph: pip install igraph to measure it too")
    sizes = (10_000,) if arguments.quick else (10_000, 100_000, 1_000_000)
    repeats = 3 if arguments.quick else 7
    words = _words()
    for seed in arguments.seeds:
        fit_discrete(draw_zeta(ALPHA, 1, 1000, np.random.default_rng(seed)))  # imports, caches
        named = [("words", words)] if words is not None else []
        named += [(f"{size:,} values", _values(size, seed)) for size in sizes]
        for name, values in named:
            yield from _fits(name, values, seed, repeats)
        huge = draw_zeta(ALPHA, 1, 10**8, np.random.default_rng(seed))
        yield from _histogram_fit("fit of the histogram, 100,000,000 values", huge, seed, repeats)
        for name, values in named[: 2 if words is not None else 1]:
            yield from _p_values(name, values, seed, min(repeats, 3))
            yield from _ratios(name, values, seed, min(repeats, 3))
        yield from _continuous(sizes[0] // (10 if arguments.quick else 1), seed, min(repeats, 3))
        yield from _report(seed, min(repeats, 3))


if __name__ == "__main__":
    run(measure, __doc__ or "")

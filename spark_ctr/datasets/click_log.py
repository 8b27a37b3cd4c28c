"""A synthetic click log drawn from a known probability."""

from __future__ import annotations

import calendar
import math
from functools import reduce
from operator import add, and_

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.datasets.click_log_config import (
    BID,
    CLICK,
    CLICK_PROBABILITY,
    CONVERSION,
    CONVERSION_PROBABILITY,
    CONVERSION_TIMESTAMP,
    REQUEST_ID,
    SLOT,
    TIMESTAMP,
    ClickLogConfig,
    Identifier,
    Numeric,
)
from spark_ctr.datasets.hash_draws import (
    hash_bits,
    standard_normal,
    uniform,
    weighted_index,
    zipf_rank,
)

PEAK_HOUR = 20
HOURLY_TRAFFIC_AMPLITUDE = 0.75
WEEKEND_TRAFFIC = 1.25

PILOT_ROWS = 10_000

_ROW, _DAY, _HOUR, _TIME = "__row", "__day", "__hour", "__time"
_REQUEST = "__request"
_CLICK_LOGIT, _CONVERSION_LOGIT = "__click_logit", "__conversion_logit"
_INTERCEPTS: dict[ClickLogConfig, tuple[float, float]] = {}


def click_log(
    spark: SparkSession,
    rows: int,
    *,
    seed: int = 0,
    partitions: int | None = None,
    config: ClickLogConfig | None = None,
) -> DataFrame:
    """Return a synthetic click log, one row per ad impression, or per candidate of an auction.

    A row is a pure function of ``(config, seed, row number)``, so neither the number of
    partitions nor a recomputation changes it. Only built-in SQL functions are used. The
    plan is lazy, but for one pilot job of 10,000 rows per config and Python process, which fits the
    two intercepts of the true logits to ``click_rate`` and ``conversion_rate``. The pilot depends
    on the config alone, so all seeds share one truth.

    Traffic follows the hour as ``1 + 0.75 cos(2 pi (hour - 20) / 24)`` and is 1.25 times as high
    on weekend days.

    Parameters
    ----------
    spark
        Classic or Connect session.
    rows
        Number of impressions, or of candidates; those of a request are next to each other.
    seed
        Seed of the rows; the effects have their own in ``config.truth_seed``.
    partitions
        Number of partitions, Spark's default if None.
    config
        The world to draw from, ``ClickLogConfig()`` if None.

    Returns
    -------
    DataFrame
        ``request_id`` (string, unique but for candidates of one request), ``timestamp`` (rows are
        not in its order), the identifiers (string, nullable), the constants (string), ``slot``
        (int, from 1), the numerics (double, nullable), ``click`` and ``conversion`` (int, 0 or 1; a
        conversion only after a click), ``click_probability`` and ``conversion_probability``
        (double, the latter given a click): the truth, no features. With a ``conversion_delay``,
        ``conversion_timestamp`` too, null without a conversion: what is later than the log's end is
        a conversion that nobody has seen yet. With ``candidates``, ``bid`` (double, of a click)
        too, and labels say what would have come of each candidate, had it been shown.

    Raises
    ------
    ValueError
        If ``rows`` is negative.
    """
    if rows < 0:
        raise ValueError(f"rows must not be negative, not {rows}")
    config = config or ClickLogConfig()
    if config not in _INTERCEPTS:
        _INTERCEPTS[config] = _fit_intercepts(spark, config)
    click_intercept, conversion_intercept = _INTERCEPTS[config]
    stream = ("rows", seed)
    impressions = _with_request(spark.range(0, rows, 1, partitions), config)
    probabilities = _with_logits(impressions, stream, config).select(
        "*",
        _sigmoid(F.col(_CLICK_LOGIT) + F.lit(click_intercept)).alias(CLICK_PROBABILITY),
        _sigmoid(F.col(_CONVERSION_LOGIT) + F.lit(conversion_intercept)).alias(
            CONVERSION_PROBABILITY
        ),
    )
    click = uniform((*stream, CLICK), _ROW) < F.col(CLICK_PROBABILITY)
    labelled = probabilities.select("*", click.cast("int").alias(CLICK))
    converts = uniform((*stream, CONVERSION), _ROW) < F.col(CONVERSION_PROBABILITY)
    converted = F.when(F.col(CLICK) == F.lit(1), converts.cast("int")).otherwise(F.lit(0))
    seconds = F.col(_TIME) * F.lit(config.days * 86_400.0)
    start = calendar.timegm(config.start.timetuple())
    mean_delay = F.lit(config.conversion_delay * 86_400.0)
    delay = -F.log(uniform((*stream, CONVERSION_TIMESTAMP), _ROW)) * mean_delay
    later = F.timestamp_seconds(F.lit(start) + seconds + delay)
    return labelled.select(
        F.lower(F.lpad(F.hex(hash_bits(stream, _REQUEST)), 16, "0")).alias(REQUEST_ID),
        F.timestamp_seconds(F.lit(start) + seconds).alias(TIMESTAMP),
        *(_value(column).alias(column.name) for column in config.identifiers),
        *(F.lit(value).alias(name) for name, value in config.constants),
        SLOT,
        *(column.name for column in config.numerics),
        *([_bid(stream, config).alias(BID)] if config.candidates > 1 else []),
        CLICK,
        converted.alias(CONVERSION),
        CLICK_PROBABILITY,
        CONVERSION_PROBABILITY,
        *(
            [F.when(converted == 1, later).alias(CONVERSION_TIMESTAMP)]
            if config.conversion_delay
            else []
        ),
    )


def _fit_intercepts(spark: SparkSession, config: ClickLogConfig) -> tuple[float, float]:
    """Solve on a pilot sample for the intercepts that give the rates asked for."""
    pilot = _with_request(spark.range(0, PILOT_ROWS, 1, 1), config)
    scored = _with_logits(pilot, ("pilot", config.truth_seed), config)
    logits = np.array(scored.select(_CLICK_LOGIT, _CONVERSION_LOGIT).collect(), dtype=np.float64)
    click = _solve_intercept(logits[:, 0], np.ones(len(logits)), config.click_rate)
    clicked = 1.0 / (1.0 + np.exp(-(logits[:, 0] + click)))
    return click, _solve_intercept(logits[:, 1], clicked, config.conversion_rate)


def _solve_intercept(logits: np.ndarray, weights: np.ndarray, rate: float) -> float:
    """Return b with weighted mean of sigmoid(logits + b) = rate, by bisection."""
    centre = math.log(rate / (1.0 - rate))
    low, high = centre - logits.max(), centre - logits.min()
    for _ in range(60):
        middle = (low + high) / 2.0
        mean = np.average(1.0 / (1.0 + np.exp(-(logits + middle))), weights=weights)
        low, high = (middle, high) if mean < rate else (low, middle)
    return float((low + high) / 2.0)


def _with_request(rows: DataFrame, config: ClickLogConfig) -> DataFrame:
    """Give rows a number, and that of the request that they are candidates of."""
    request = F.floor(F.col("id") / F.lit(config.candidates)).alias(_REQUEST)
    return rows.select(F.col("id").alias(_ROW), request)


def _of(column: Identifier | Numeric) -> str:
    """Return what a value is drawn for."""
    return _ROW if column.of_ad else _REQUEST


def _bid(stream: tuple[object, ...], config: ClickLogConfig) -> Column:
    return F.exp(standard_normal((*stream, BID), _ROW) * F.lit(config.bid_spread))


def _with_logits(
    impressions: DataFrame, stream: tuple[object, ...], config: ClickLogConfig
) -> DataFrame:
    """Add time, values and the two true logits without their intercepts."""
    log = _with_time(impressions, stream, config)
    log = _project(
        log,
        *(_rank(stream, column).alias(_index(column.name)) for column in config.identifiers),
        *(_numeric_value(stream, column).alias(column.name) for column in config.numerics),
    )
    holders = {
        _index(column.name): _current_holder(column, config)
        for column in config.identifiers
        if column.turnover
    }
    log = log.withColumns(holders) if holders else log
    return _project(
        log,
        _sum(_click_effects(config)).alias(_CLICK_LOGIT),
        _sum(_conversion_effects(config)).alias(_CONVERSION_LOGIT),
    )


def _project(log: DataFrame, *columns: Column) -> DataFrame:
    """Add columns in a projection that Spark compiles by itself, in small methods.

    Merged into one whole-stage method it would exceed what the JVM's just-in-time compiler takes
    (8,000 bytes) and run five times slower. A higher-order function, which has no generated code,
    keeps it apart; it must be one that the optimizer does not see through.
    """
    row = F.expr(f"element_at(transform(array({_ROW}), x -> x), 1)").alias(_ROW)
    others = [name for name in log.columns if name != _ROW]
    return log.select(row, *others, *columns)


def _with_time(
    impressions: DataFrame, stream: tuple[object, ...], config: ClickLogConfig
) -> DataFrame:
    """Add the moment and the slot."""
    weekend = [(config.start.weekday() + day) % 7 >= 5 for day in range(config.days)]
    daily = [WEEKEND_TRAFFIC if is_weekend else 1.0 for is_weekend in weekend]
    hourly = [
        1.0 + HOURLY_TRAFFIC_AMPLITUDE * math.cos((hour - PEAK_HOUR) * 2.0 * math.pi / 24.0)
        for hour in range(24)
    ]
    log = impressions.select(
        "*",
        weighted_index((*stream, "day"), _REQUEST, weights=daily).alias(_DAY),
        weighted_index((*stream, "hour"), _REQUEST, weights=hourly).alias(_HOUR),
        (weighted_index((*stream, SLOT), _REQUEST, weights=[1.0] * config.slots) + F.lit(1)).alias(
            SLOT
        ),
    )
    hours = F.col(_DAY) * F.lit(24) + F.col(_HOUR) + uniform((*stream, "second"), _REQUEST)
    return log.withColumn(_TIME, hours / F.lit(config.days * 24.0))


def _rank(stream: tuple[object, ...], column: Identifier) -> Column:
    rank = zipf_rank(
        (*stream, column.name), _of(column), vocabulary=column.vocabulary, exponent=column.exponent
    )
    return _missing(stream, column, rank)


def _current_holder(column: Identifier, config: ClickLogConfig) -> Column:
    """Return the value that holds a rank now: the newcomer once its moment has passed."""
    rank = F.col(_index(column.name))
    moment = uniform(_truth(config, column.name, "turnover"), _index(column.name))
    replaced = moment < F.col(_TIME) * F.lit(column.turnover)
    return F.when(replaced, rank + F.lit(column.vocabulary)).otherwise(rank)


def _numeric_value(stream: tuple[object, ...], column: Numeric) -> Column:
    normal = standard_normal((*stream, column.name), _of(column))
    if column.log_normal:
        value = F.lit(column.centre) * F.exp(normal * F.lit(column.spread))
    else:
        value = F.lit(column.centre) + normal * F.lit(column.spread)
    scale = F.lit(10.0**column.decimals)
    value = F.greatest(F.rint(value * scale) / scale, F.lit(column.minimum))
    return _missing(stream, column, F.least(value, F.lit(column.maximum)))


def _missing(stream: tuple[object, ...], column: Identifier | Numeric, value: Column) -> Column:
    if not column.missing:
        return value
    present = uniform((*stream, column.name, "missing"), _of(column)) >= F.lit(column.missing)
    return F.when(present, value)


def _click_effects(config: ClickLogConfig) -> list[Column]:
    phase = (F.col(_HOUR) - F.lit(PEAK_HOUR)) * F.lit(2.0 * math.pi / 24.0)
    is_weekend = (F.col(_DAY) + F.lit(config.start.weekday())) % F.lit(7) >= F.lit(5)
    effects = [
        F.lit(config.hour_effect) * F.cos(phase),
        F.when(is_weekend, F.lit(config.weekend_effect)).otherwise(F.lit(0.0)),
        F.lit(config.trend) * F.col(_TIME),
        F.lit(-config.slot_effect) * F.log(F.col(SLOT).cast("double")),
    ]
    for column in config.identifiers:
        if column.effect:
            turn = (column.drift * math.pi / 2.0, _TIME) if column.drift else None
            stream = _truth(config, CLICK, column.name)
            effect = _effect(stream, column.effect, column.name, turn=turn)
            effects.append(_in_context(config, column.name, effect))
    for pair in config.interactions:
        if pair.effect:
            stream = _truth(config, CLICK, pair.left, pair.right)
            effects.append(_effect(stream, pair.effect, pair.left, pair.right))
    numerics = [column for column in config.numerics if column.effect]
    return effects + [
        _in_context(config, column.name, _numeric_effect(column, column.effect))
        for column in numerics
    ]


def _in_context(config: ClickLogConfig, name: str, effect: Column) -> Column:
    """Return the click effect of a column as the contexts of the row weigh it."""
    for context in config.contexts:
        if context.column == name and context.spread:
            stream = _truth(config, CLICK, context.context, name, "weight")
            effect *= F.lit(1.0) + _effect(stream, context.spread, context.context)
    return effect


def _conversion_effects(config: ClickLogConfig) -> list[Column]:
    effects = [
        _conversion_effect(config, column)
        for column in config.identifiers
        if column.conversion_effect
    ]
    numerics = [column for column in config.numerics if column.conversion_effect]
    return effects + [_numeric_effect(column, column.conversion_effect) for column in numerics]


def _conversion_effect(config: ClickLogConfig, column: Identifier) -> Column:
    """Return the effect of a value on conversions, correlated with that on clicks."""
    size, shared = column.conversion_effect, column.conversion_correlation
    own = _effect(
        _truth(config, CONVERSION, column.name), size * math.sqrt(1 - shared**2), column.name
    )
    if not shared:
        return own
    return own + _effect(_truth(config, CLICK, column.name), size * shared, column.name)


def _effect(
    stream: tuple[object, ...], size: float, *names: str, turn: tuple[float, str] | None = None
) -> Column:
    """Return the effect of a value, or of several together; 0 where one is missing."""
    weight = standard_normal(stream, *map(_index, names), turn=turn)
    present = reduce(and_, (F.col(_index(name)).isNotNull() for name in names))
    return F.when(present, weight * F.lit(size)).otherwise(F.lit(0.0))


def _numeric_effect(column: Numeric, size: float) -> Column:
    """Return the effect of the value as stored, so that it is known from the column alone."""
    value = F.col(column.name)
    if column.log_normal:
        standard = F.log(value / F.lit(column.centre)) / F.lit(column.spread)
    else:
        standard = (value - F.lit(column.centre)) / F.lit(column.spread)
    return F.coalesce(standard * F.lit(size), F.lit(0.0))


def _sum(effects: list[Column]) -> Column:
    return reduce(add, effects, F.lit(0.0))


def _value(column: Identifier) -> Column:
    digits = max(6, len(str(2 * column.vocabulary)))
    number = F.lpad(F.col(_index(column.name)).cast("string"), digits, "0")
    return F.concat(F.lit(column.name.removesuffix("_id") + "_"), number)


def _truth(config: ClickLogConfig, *name: object) -> tuple[object, ...]:
    return ("truth", config.truth_seed, *name)


def _index(name: str) -> str:
    return f"__index_{name}"


def _sigmoid(logit: Column) -> Column:
    return F.lit(1.0) / (F.lit(1.0) + F.exp(-logit))

"""What a synthetic click log contains and which of its columns matter."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

REQUEST_ID = "request_id"
BID = "bid"
TIMESTAMP = "timestamp"
SLOT = "slot"
CLICK = "click"
CONVERSION = "conversion"
CONVERSION_TIMESTAMP = "conversion_timestamp"
CLICK_PROBABILITY = "click_probability"
CONVERSION_PROBABILITY = "conversion_probability"
TRUTH_COLUMNS = (CLICK_PROBABILITY, CONVERSION_PROBABILITY)
_OWN_NAMES = (
    REQUEST_ID,
    BID,
    TIMESTAMP,
    SLOT,
    CLICK,
    CONVERSION,
    CONVERSION_TIMESTAMP,
    *TRUTH_COLUMNS,
)


def _check_share(where: str, field: str, share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{where}: {field} must be in [0, 1], not {share}")


@dataclass(frozen=True)
class Identifier:
    """A string column of Zipf-distributed values such as ``"user_000123"``.

    The number in a value is its popularity rank; above ``vocabulary``, a newcomer's.

    Parameters
    ----------
    name
        Column name; the values' prefix is the name without a trailing ``_id``.
    vocabulary
        Number of values in circulation at any one time.
    exponent
        Zipf exponent of the rank-frequency law; 0 is uniform.
    effect, conversion_effect
        Standard deviation over the values of the effect on the click logit, and on the conversion
        logit. 0 plants a useless column.
    missing
        Share of rows where the column is null. A missing value has no effect, so the columns
        still tell everything about the true probability.
    turnover
        Share of ranks whose value leaves during the log, at a uniform moment, and is replaced by
        one never seen before: new values come at every popularity, and the law stays Zipf.
    drift
        How far the values' click effects move over the log: their correlation between start and
        end is ``cos(drift * pi / 2)``, so 0 is no drift and 1 is unrelated.
    conversion_correlation
        Correlation over the values between both effects at the start of the log, in [-1, 1].
    of_ad
        Whether it tells of the ad, not of the request: where candidates meet, each has its own.
    """

    name: str
    vocabulary: int
    exponent: float = 1.0
    effect: float = 0.0
    conversion_effect: float = 0.0
    missing: float = 0.0
    turnover: float = 0.0
    drift: float = 0.0
    conversion_correlation: float = 0.0
    of_ad: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        where = f"Identifier {self.name!r}"
        if self.vocabulary < 1:
            raise ValueError(f"{where}: vocabulary must be at least 1, not {self.vocabulary}")
        if self.exponent < 0:
            raise ValueError(f"{where}: exponent must not be negative, not {self.exponent}")
        _check_share(where, "missing", self.missing)
        _check_share(where, "turnover", self.turnover)
        _check_share(where, "drift", self.drift)
        if not -1.0 <= self.conversion_correlation <= 1.0:
            raise ValueError(
                f"{where}: conversion_correlation must be in [-1, 1], not "
                f"{self.conversion_correlation}"
            )


@dataclass(frozen=True)
class Numeric:
    """A numeric column, normal or log-normal.

    Parameters
    ----------
    name
        Column name.
    centre
        Median.
    spread
        Standard deviation of the value, or of its natural logarithm if ``log_normal``.
    effect, conversion_effect
        Change of the click logit, and of the conversion logit, per ``spread``.
    missing
        Share of rows where the column is null; a missing value has no effect.
    log_normal
        Whether the logarithm is normal.
    minimum, maximum
        Where the values are cut off.
    decimals
        Decimal places to which the values are rounded.
    of_ad
        See `Identifier`.
    """

    name: str
    centre: float
    spread: float
    effect: float = 0.0
    conversion_effect: float = 0.0
    missing: float = 0.0
    log_normal: bool = False
    minimum: float = float("-inf")
    maximum: float = float("inf")
    decimals: int = 2
    of_ad: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        where = f"Numeric {self.name!r}"
        if self.spread <= 0:
            raise ValueError(f"{where}: spread must be positive, not {self.spread}")
        if self.log_normal and not (self.centre > 0 and self.minimum > 0):
            raise ValueError(f"{where}: log_normal needs a positive centre and minimum")
        _check_share(where, "missing", self.missing)


@dataclass(frozen=True)
class Interaction:
    """A click effect of every pair of values of two identifier columns.

    Parameters
    ----------
    left, right
        Names of identifier columns.
    effect
        Standard deviation over the pairs of the effect on the click logit.
    """

    left: str
    right: str
    effect: float


@dataclass(frozen=True)
class ContextEffect:
    """What a column means for clicks differs by the value of another, such as a domain.

    In each value of the context, the column's click effect weighs ``1 + spread * z``, with a
    standard normal z of that value: what raises the click logit in one may lower it in another.
    A missing context weighs 1.

    Parameters
    ----------
    context
        Name of an identifier column.
    column
        Name of another identifier column, or of a numeric one.
    spread
        Standard deviation over the context's values of the weight.
    """

    context: str
    column: str
    spread: float


@dataclass(frozen=True)
class ClickLogConfig:
    """The world a synthetic click log is drawn from.

    Parameters
    ----------
    identifiers, numerics, interactions
        The columns and their effects.
    contexts
        By which columns the click effects of others differ.
    constants
        Pairs of a column name and the one string it holds.
    click_rate
        Mean click probability asked for, in (0, 1).
    conversion_rate
        Mean conversion probability of a clicked impression asked for, in (0, 1).
    conversion_delay
        Mean days, exponentially distributed, from a click to its conversion; 0: conversions are at
        once, and have no column of their times.
    candidates
        Ads that meet in a request's auction, a row each: they have its time, slot and columns in
        common, and each has its own `of_ad` columns and a bid. 1: no auctions, and no bids.
    bid_spread
        Standard deviation of a bid's natural logarithm, whose mean is 0. Bids tell nothing of the
        probabilities.
    start
        First day, from midnight UTC. All hours and weekdays are UTC.
    days
        Length of the log in days.
    slots
        Number of ad slots; slot 1 is the best.
    slot_effect
        Fall of the click logit per unit of ``ln(slot)``.
    hour_effect
        Amplitude of the click logit's daily cosine, highest at 20 h.
    weekend_effect
        Rise of the click logit on Saturday and Sunday.
    trend
        Rise of the click logit from the start of the log to its end.
    truth_seed
        Seed of the effects. Logs with the same config and different row seeds come from the same
        world: train on one, test on another.
    """

    identifiers: tuple[Identifier, ...] = (
        Identifier("user_id", 100_000, 0.9, effect=0.4, conversion_effect=0.3),
        Identifier(
            "ad_id",
            5_000,
            1.1,
            effect=0.5,
            conversion_effect=0.4,
            turnover=0.3,
            drift=0.3,
            of_ad=True,
        ),
        Identifier("advertiser_id", 500, 1.0, effect=0.4, turnover=0.1, of_ad=True),
        Identifier("site_id", 2_000, 1.2, effect=0.5, missing=0.02),
        Identifier("category", 30, 0.7, effect=0.3, of_ad=True),
        Identifier("device", 6, 0.8, effect=0.3),
        Identifier("region", 50, 1.0, effect=0.2, missing=0.05),
        Identifier("browser", 8, 1.0),
        Identifier("ab_bucket", 1_000, 0.0),
    )
    numerics: tuple[Numeric, ...] = (
        Numeric("price", 20.0, 0.8, -0.2, -0.4, log_normal=True, minimum=0.01, of_ad=True),
        Numeric("age", 38.0, 13.0, 0.2, missing=0.15, minimum=18.0, maximum=90.0, decimals=0),
        Numeric("page_load_seconds", 1.2, 0.5, log_normal=True, minimum=0.01),
    )
    interactions: tuple[Interaction, ...] = (
        Interaction("category", "device", 0.4),
        Interaction("site_id", "category", 0.3),
    )
    constants: tuple[tuple[str, str], ...] = (("log_version", "v1"),)
    click_rate: float = 0.05
    conversion_rate: float = 0.1
    start: datetime.date = datetime.date(2026, 1, 5)
    days: int = 14
    slots: int = 4
    slot_effect: float = 0.4
    hour_effect: float = 0.2
    weekend_effect: float = 0.1
    trend: float = 0.2
    truth_seed: int = 0
    conversion_delay: float = 0.0
    contexts: tuple[ContextEffect, ...] = ()
    candidates: int = 1
    bid_spread: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges and that every name is there once."""
        for field in ("click_rate", "conversion_rate"):
            if not 0.0 < getattr(self, field) < 1.0:
                raise ValueError(f"{field} must be in (0, 1), not {getattr(self, field)}")
        if not 0.0 <= self.conversion_delay < float("inf"):
            raise ValueError(f"conversion_delay must not be negative, not {self.conversion_delay}")
        if not 0.0 <= self.bid_spread < float("inf"):
            raise ValueError(f"bid_spread must not be negative, not {self.bid_spread}")
        for field in ("days", "slots", "candidates"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        names = [*_OWN_NAMES, *(name for name, _ in self.constants)]
        names += [column.name for column in self._configured]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column names used twice: {twice}; rename the configured columns")
        known = {column.name for column in self.identifiers}
        for pair in self.interactions:
            if unknown := {pair.left, pair.right} - known:
                raise ValueError(
                    f"Interaction names {sorted(unknown)}, which are no identifiers; "
                    f"choose from {sorted(known)}"
                )

        for effect in self.contexts:
            of_columns = {column.name for column in self._configured} - {effect.context}
            for field, name, found in (
                ("context", effect.context, known),
                ("column", effect.column, of_columns),
            ):
                if name not in found:
                    raise ValueError(
                        f"ContextEffect has the {field} {name!r}; choose one of {sorted(found)}"
                    )

    @property
    def _configured(self) -> tuple[Identifier | Numeric, ...]:
        return (*self.identifiers, *self.numerics)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """All columns a model may read, in the log's order: no label and no true probability."""
        return (
            REQUEST_ID,
            TIMESTAMP,
            *(column.name for column in self.identifiers),
            *(name for name, _ in self.constants),
            SLOT,
            *(column.name for column in self.numerics),
        )

    @property
    def relevant_columns(self) -> tuple[str, ...]:
        """The columns that the true click probability depends on, in the log's order."""
        relevant = {column.name for column in self._configured if column.effect}
        for pair in self.interactions:
            relevant |= {pair.left, pair.right} if pair.effect else set()
        relevant |= {e.context for e in self.contexts if e.spread and e.column in relevant}
        relevant |= {SLOT} if self.slot_effect and self.slots > 1 else set()
        moving = any(column.drift and column.effect for column in self.identifiers)
        if self.hour_effect or self.weekend_effect or self.trend or moving:
            relevant.add(TIMESTAMP)
        return tuple(name for name in self.feature_columns if name in relevant)

    @property
    def conversion_relevant_columns(self) -> tuple[str, ...]:
        """The columns that the true conversion probability depends on, in the log's order."""
        return tuple(column.name for column in self._configured if column.conversion_effect)

    @property
    def useless_columns(self) -> tuple[str, ...]:
        """The feature columns that neither true probability depends on, in the log's order."""
        relevant = {*self.relevant_columns, *self.conversion_relevant_columns}
        return tuple(name for name in self.feature_columns if name not in relevant)

"""Params of AuctionEvaluator, and checks of the columns that they name."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_ctr.auction.figures import FIGURES
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import field
from spark_ctr.stage.labels import LABEL_TYPES
from spark_ctr.stage.params import HasLabel, HasRandomSeed
from spark_ctr.stage.scores import SCORE_TYPES

BIDS = ("cpc", "cpm", "ocpc")
KEY_TYPES = (T.StringType, T.IntegralType, T.DateType)


def position_factors(value: Any) -> list[float]:
    """Return the factors of positions: above 0, none above the one before, the first at most 1."""
    factors = TypeConverters.toListFloat(value)
    falling = all(a >= b for a, b in zip([1.0, *factors], factors, strict=False))
    if not factors or not falling or not factors[-1] > 0:
        raise ValueError(
            f"positionFactors must be numbers in (0, 1], none above the one before, got {value!r}"
        )
    return factors


class AuctionParams(HasLabel, HasRandomSeed):
    """What an auction is, and what is measured of it."""

    auctionCol = param(
        "auctionCol",
        "column that says which candidates meet (string, integral or date)",
        TypeConverters.toString,
        "auction",
    )
    bidCol = param(
        "bidCol",
        "bids, at least 0: for a click, for a thousand ads shown, or for a conversion (bidType)",
        TypeConverters.toString,
        "bid",
    )
    bidType = param(
        "bidType",
        "what is bid for and paid by: 'cpc' (a click), 'cpm' (a thousand ads shown), or 'ocpc' "
        "(bid for a conversion, paid by the click)",
        one_of("bidType", *BIDS),
        "cpc",
    )
    probabilityCol = param(
        "probabilityCol",
        "scores: a vector column of the two class probabilities, of which the second one counts, "
        "or a numeric column in [0, 1]",
        TypeConverters.toString,
        "probability",
    )
    truthCol = param(
        "truthCol",
        "true click probability of a candidate in the first position, where it is known; unset: "
        "the labels are what came",
        TypeConverters.toString,
    )
    conversionProbabilityCol = param(
        "conversionProbabilityCol",
        "probability of a conversion after a click, by which 'ocpc' turns bids into bids for "
        "clicks",
        TypeConverters.toString,
    )
    conversionTruthCol = param(
        "conversionTruthCol",
        "true probability of a conversion after a click, which welfare counts with 'ocpc'; unset: "
        "conversionProbabilityCol",
        TypeConverters.toString,
    )
    positionFactors = param(
        "positionFactors",
        "of each position the share of the first one's clicks, falling; as many ads are shown",
        position_factors,
        [1.0],
    )
    reserve = param(
        "reserve",
        "least price of an ad shown in the first position; candidates worth less are not shown",
        number("reserve", float, at_least=0.0),
        0.0,
    )
    metricName = param(
        "metricName",
        "'welfare', 'revenue', 'ecpm', or 'calibrationRatio' of the ads shown",
        one_of("metricName", *FIGURES),
        "welfare",
    )
    numResamples = param(
        "numResamples",
        "resamples of the bootstrap behind the intervals; 0 for none",
        number("numResamples", int, at_least=0, at_most=100_000),
        1000,
    )
    confidence = param(
        "confidence",
        "confidence of the intervals",
        number("confidence", float, above=0.0, below=1.0),
        0.95,
    )

    def _check(self, dataset: DataFrame, probability: str) -> None:
        """Check Params and columns, with scores in a column that may be another one.

        Raises
        ------
        ValueError
        """
        field(dataset, self.getAuctionCol(), "auctionCol", KEY_TYPES)
        field(dataset, self.getBidCol(), "bidCol", (T.NumericType,))
        field(dataset, probability, "probabilityCol", SCORE_TYPES)
        truth = self._value("truthCol")
        if truth is not None:
            field(dataset, truth, "truthCol", (T.NumericType,))
        else:
            field(dataset, self.getLabelCol(), "labelCol", LABEL_TYPES)
        conversions = self._value("conversionProbabilityCol")
        if (self.getBidType() == "ocpc") != (conversions is not None):
            raise ValueError(
                f"{type(self).__name__}: bidType 'ocpc' and conversionProbabilityCol belong "
                "together: set both or neither"
            )
        for name in ("conversionProbabilityCol", "conversionTruthCol"):
            value = self._value(name)
            if value is not None:
                field(dataset, value, name, SCORE_TYPES)
        if self._value("conversionTruthCol") is not None and conversions is None:
            raise ValueError(
                f"{type(self).__name__}: conversionTruthCol is of bidType 'ocpc' alone"
            )

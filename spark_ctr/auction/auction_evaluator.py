"""AuctionEvaluator: what scores are worth where ads compete for a place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
from pyspark.ml.evaluation import Evaluator
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_ctr.auction.figures import SUMS, AuctionFigures, Interval, comparison, figures
from spark_ctr.auction.params import AuctionParams
from spark_ctr.stage.columns import column, name_key
from spark_ctr.stage.labels import click_label
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.scores import score
from spark_ctr.stage.session import check_running

# Groups of auctions that the bootstrap draws.
GROUPS = 4096
# Columns of a candidate, of the evaluator's own.
_KEY, _BID, _P, _TRUE, _CONVERTS, _TRULY_CONVERTS, _SCORE, _TIE, _RANK, _NEXT = (
    f"__{name}"
    for name in ("auction", "bid", "p", "true", "converts", "truly", "score", "tie", "rank", "next")
)


class AuctionEvaluator(AuctionParams, PersistentStage, Evaluator):
    """Hold the auctions of a log by a model's scores, and tell what came of them.

    Rows are candidates; those of one ``auctionCol`` meet. A candidate is worth its bid for an ad
    shown in the first position: bid times probability of a click with ``bidType`` ``'cpc'``, a
    thousandth of it with ``'cpm'``, times the probability of a conversion too with ``'ocpc'``. The
    best ones that are worth at least ``reserve`` are shown, as many as ``positionFactors`` has, in
    falling order. Each pays by the generalised second price: the least with which it would have
    kept its position, so what the next one is worth, or the reserve. With one position that is
    the second-price auction. Clicks are paid by a price a click, that over the winner's own
    probability.

    Where ``truthCol`` has the true probabilities, revenue and welfare are expected values under
    them, and no click is drawn. Else labels are what came of the ads shown; a label says what came
    where and beside what the ad was shown then, so on a real log such figures lean towards what
    the log's own auction did.

    ``welfare`` is what the ads shown are worth to those who pay for them. Judge by it: revenue can
    rise under worse scores, as where they are shrunk towards their mean. ``calibrationRatio`` of
    the ads shown is above that of all rows where scores are noisy, since the auction picks what is
    overrated. A common factor on all scores changes none of the others without a reserve.

    It judges scores that others made, and is no bidder: bids are as they are, whatever the scores.

    ``isLargerBetter`` is True but for ``calibrationRatio``, which is best at 1.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    Examples
    --------
    >>> judge = AuctionEvaluator(truthCol="clickProbability", reserve=0.01)   # doctest: +SKIP
    >>> judge.figures(scored).welfare                                         # doctest: +SKIP
    >>> judge.compare(scored, {"raw": "probability",
    ...     "calibrated": "calibratedProbability"}, baseline="raw")           # doctest: +SKIP

    References
    ----------
    Edelman, Ostrovsky and Schwarz, "Internet Advertising and the Generalized Second-Price
    Auction", American Economic Review 2007.
    """

    def isLargerBetter(self) -> bool:
        """Whether more is better: of all but the calibration ratio."""
        return self.getMetricName() != "calibrationRatio"

    def winners(self, dataset: DataFrame) -> DataFrame:
        """Return the ads shown, without an action.

        Returns
        -------
        DataFrame
            The dataset's columns, and ``position`` (from 1), ``value`` (what the candidate is worth
            in the first position), ``price`` (expected payment by the scores if it is shown in the
            first position), ``revenue`` and ``welfare`` (of its position, by what is true), and
            ``predicted`` and ``clicks`` (of its position).

        Raises
        ------
        ValueError
            For a column that is missing, of a wrong type or in the way of these, or Params that do
            not fit together. An invalid value is an error when the rows are read.
        """
        return self._shown(dataset, self.getProbabilityCol()).drop(
            *(_KEY, _BID, _P, _TRUE, _CONVERTS, _TRULY_CONVERTS, _SCORE, _TIE, _RANK, _NEXT)
        )

    def figures(self, dataset: DataFrame) -> AuctionFigures:
        """Return all figures with intervals, from one pass.

        Raises
        ------
        ValueError
            See :meth:`winners`; and for a dataset without rows.
        """
        sums = self._sums(dataset, self.getProbabilityCol())
        return figures(sums, **self._bootstrap())

    def compare(
        self, dataset: DataFrame, probabilityCols: Mapping[str, str], *, baseline: str
    ) -> dict[str, dict[str, Interval]]:
        """Return by which share each system's figures lie above a baseline's.

        All systems hold the same auctions, so that what the auctions have in common does not widen
        the intervals.

        Parameters
        ----------
        dataset : DataFrame
        probabilityCols : mapping of str to str
            The column of scores of each system.
        baseline : str
            One of the systems.

        Returns
        -------
        dict of str to dict of str to Interval
            Of each other system each figure; 0.01 is one percent above the baseline.

        Raises
        ------
        ValueError
            See :meth:`figures`; and for a baseline that is none of the systems.
        """
        if baseline not in probabilityCols:
            raise ValueError(f"baseline {baseline!r} is none of {sorted(probabilityCols)}")
        sums = {name: self._sums(dataset, score) for name, score in probabilityCols.items()}
        return {
            name: comparison(found, sums[baseline], **self._bootstrap())
            for name, found in sums.items()
            if name != baseline
        }

    def _evaluate(self, dataset: DataFrame) -> float:
        found: Interval = getattr(
            figures(self._sums(dataset, self.getProbabilityCol()), **self._bootstrap(0)),
            self.getMetricName(),
        )
        return found.value

    def _bootstrap(self, resamples: int | None = None) -> dict[str, Any]:
        return {
            "resamples": self.getNumResamples() if resamples is None else resamples,
            "confidence": self.getConfidence(),
            "seed": self.getSeed(),
        }

    def _sums(self, dataset: DataFrame, probability: str) -> np.ndarray:
        """Return the sums of each group of auctions, in the order of the groups."""
        # All candidates, so that auctions that show none count.
        ranked = self._ranked(dataset, probability)
        first, shown = F.col(_RANK) == 1, self._is_shown()
        parts = {
            "auctions": first.cast("double"),
            "shown": shown.cast("double"),
            **{name: F.when(shown, value) for name, value in self._outcome().items()},
        }
        group = F.pmod(F.xxhash64(F.col(_KEY), F.lit(self.getSeed())), F.lit(GROUPS))
        rows = (
            ranked.groupBy(group.alias("group"))
            .agg(*(F.coalesce(F.sum(parts[name]), F.lit(0.0)).alias(name) for name in SUMS))
            .collect()
        )
        if not rows:
            raise ValueError(f"{type(self).__name__}: the dataset has no rows")
        rows.sort(key=lambda row: row["group"])
        return np.array([[row[name] for name in SUMS] for row in rows])

    def _shown(self, dataset: DataFrame, probability: str) -> DataFrame:
        key = name_key(dataset)
        present = {key(name) for name in dataset.columns}
        taken = [n for n in ("position", "value", "price", *self._outcome()) if key(n) in present]
        if taken:
            raise ValueError(
                f"{type(self).__name__}: the dataset has columns {taken}, which are to be added: "
                "rename them"
            )
        ranked = self._ranked(dataset, probability).filter(self._is_shown())
        return ranked.select(
            "*",
            F.col(_RANK).alias("position"),
            F.col(_SCORE).alias("value"),
            self._price().alias("price"),
            *(value.alias(name) for name, value in self._outcome().items()),
        )

    def _ranked(self, dataset: DataFrame, probability: str) -> DataFrame:
        """Candidates in order within their auction, each with what the next one is worth."""
        check_running(dataset)
        self._check(dataset, probability)
        candidates = self._candidates(dataset, probability)
        meet = Window.partitionBy(_KEY).orderBy(F.desc(_SCORE), _TIE)
        return candidates.select(
            "*",
            F.row_number().over(meet).alias(_RANK),
            F.lead(_SCORE, 1, 0.0).over(meet).alias(_NEXT),
        )

    def _candidates(self, dataset: DataFrame, probability: str) -> DataFrame:
        bid = column(self.getBidCol()).cast("double")
        values = {
            _BID: F.when((bid >= 0.0) & (bid < float("inf")), bid),
            _P: score(dataset, probability),
            _TRUE: self._truth(dataset),
        }
        names = [self.getBidCol(), probability, self._value("truthCol") or self.getLabelCol()]
        conversions = self._value("conversionProbabilityCol")
        truly = self._value("conversionTruthCol") or conversions
        for name, alias in ((conversions, _CONVERTS), (truly, _TRULY_CONVERTS)):
            values[alias] = F.lit(1.0) if name is None else score(dataset, name)
            names += [] if name is None or name in names else [name]
        key = column(self.getAuctionCol())
        # Ties must not be broken by the order of rows, which nothing promises.
        own = [F.col(name) for name in (_BID, _P, _TRUE, _CONVERTS, _TRULY_CONVERTS)]
        read = dataset.select("*", key.alias(_KEY), *(v.alias(n) for n, v in values.items()))
        valid = reduce(and_, (value.isNotNull() for value in own), F.col(_KEY).isNotNull())
        message = (
            f"{type(self).__name__}: a row has no auction in {self.getAuctionCol()!r}, or in one "
            f"of {', '.join(map(repr, names))} null, nan, a bid below 0 or no probability or label"
        )
        worth = {
            "cpc": F.col(_BID) * F.col(_P),
            "cpm": F.col(_BID) / 1000.0,
            "ocpc": F.col(_BID) * F.col(_CONVERTS) * F.col(_P),
        }[self.getBidType()]
        return read.select(
            "*",
            F.when(valid, worth)
            .otherwise(F.raise_error(F.lit(message)).cast("double"))
            .alias(_SCORE),
            F.xxhash64(F.lit(self.getSeed()), *own).alias(_TIE),
        )

    def _truth(self, dataset: DataFrame) -> Column:
        truth = self._value("truthCol")
        if truth is not None:
            return score(dataset, truth)
        label, positive = self.getLabelCol(), self._value("positiveLabel")
        found = click_label(dataset, label, positive, type(self).__name__).cast("double")
        return F.when(found.isin(0.0, 1.0), found)

    def _is_shown(self) -> Column:
        enough = F.col(_SCORE) >= self.getReserve()
        return (F.col(_RANK) <= len(self.getPositionFactors())) & enough

    def _price(self) -> Column:
        """Return what an ad shown in the first position pays, as the scores have it."""
        return F.greatest(F.col(_NEXT), F.lit(float(self.getReserve())))

    def _outcome(self) -> dict[str, Column]:
        """Return what comes of an ad that is shown, by what is true."""
        factor = F.element_at(
            F.array(*map(F.lit, map(float, self.getPositionFactors()))), F.col(_RANK)
        )
        clicks = factor * F.col(_TRUE)
        if self.getBidType() == "cpm":
            # Paid for being shown, wherever.
            revenue, welfare = self._price(), F.col(_SCORE)
        else:
            # Of scores of 0 none is worth anything, so nothing is paid.
            revenue = F.when(F.col(_P) > 0, clicks * self._price() / F.col(_P)).otherwise(0.0)
            welfare = clicks * F.col(_BID) * F.col(_TRULY_CONVERTS)
        return {
            "revenue": revenue,
            "welfare": welfare,
            "predicted": factor * F.col(_P),
            "clicks": clicks,
        }

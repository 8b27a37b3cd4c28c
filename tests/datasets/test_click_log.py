"""The synthetic click log against the world it was asked for."""

import datetime
import math

import numpy as np
import pytest
from pyspark.sql import functions as F
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from spark_ctr.datasets import (
    TRUTH_COLUMNS,
    ClickLogConfig,
    ContextEffect,
    Identifier,
    Interaction,
    Numeric,
    best_auc,
    best_log_loss,
    click_log,
)

ROWS = 40_000
CONFIG = ClickLogConfig()
# Nothing but the columns has an effect.
STILL = dict.fromkeys(("slot_effect", "hour_effect", "weekend_effect", "trend"), 0.0)


@pytest.fixture(scope="module")
def log(spark):
    """One log, drawn once: each test reads it in pandas."""
    return click_log(spark, ROWS, seed=1, partitions=2).toPandas()


def _checksum(log):
    columns = [F.xxhash64(*log.columns).cast("decimal(38,0)").alias("bits")]
    return log.select(*columns).agg(F.count("bits"), F.sum("bits")).first()


def test_same_rows_whatever_the_partitions(spark):
    one, many = (click_log(spark, 3_000, seed=7, partitions=n) for n in (1, 5))
    other = click_log(spark, 3_000, seed=8, partitions=1)
    assert _checksum(one) == _checksum(many)
    assert _checksum(one) != _checksum(other)
    assert click_log(spark, 0).count() == 0


def test_seeds_share_the_truth(spark):
    # With deterministic columns only, the probability is a function of the value alone.
    config = ClickLogConfig(
        identifiers=(Identifier("ad_id", 5, 1.0, effect=1.0),),
        numerics=(),
        interactions=(),
        **STILL,
    )
    both = click_log(spark, 500, seed=1, config=config).union(
        click_log(spark, 500, seed=2, config=config)
    )
    by_ad = both.groupBy("ad_id").agg(F.countDistinct("click_probability").alias("n")).collect()
    assert sorted(row.ad_id for row in by_ad) == [f"ad_{rank:06d}" for rank in range(1, 6)]
    assert {row.n for row in by_ad} == {1}
    assert config.relevant_columns == ("ad_id",)


@pytest.mark.once
def test_contexts_weigh_effects(spark):
    """In each domain the logit is a multiple of the ad's effect, with a factor of the domain."""
    config = ClickLogConfig(
        identifiers=(Identifier("ad_id", 5, effect=1.0), Identifier("domain", 4, missing=0.2)),
        numerics=(),
        interactions=(),
        **STILL,
        contexts=(ContextEffect("domain", "ad_id", 0.8),),
    )
    assert config.relevant_columns == ("ad_id", "domain")
    found = click_log(spark, 2_000, config=config).fillna("none", ["domain"]).toPandas()
    p = found["click_probability"].to_numpy()
    logits = found.assign(logit=np.log(p / (1 - p))).pivot_table("logit", "domain", "ad_id")
    effects = logits.sub(logits.mean(1), axis=0).to_numpy()
    known = effects[list(logits.index).index("none")]
    weights = effects @ known / (known @ known)
    np.testing.assert_allclose(effects, np.outer(weights, known), atol=1e-6)
    assert np.ptp(weights) > 0.3 and len(weights) == 5


@pytest.mark.once
@pytest.mark.parametrize(("click_rate", "conversion_rate"), [(0.005, 0.02), (0.3, 0.5)])
def test_rates_asked_for(spark, click_rate, conversion_rate):
    config = ClickLogConfig(click_rate=click_rate, conversion_rate=conversion_rate)
    weighted = F.sum(F.col("click_probability") * F.col("conversion_probability"))
    click, conversion = (
        click_log(spark, ROWS, seed=3, config=config)
        .agg(F.avg("click_probability"), weighted / F.sum("click_probability"))
        .first()
    )
    assert click == pytest.approx(click_rate, rel=0.1)
    assert conversion == pytest.approx(conversion_rate, rel=0.1)


def _assert_calibrated(label, probability):
    """Bins of equal size, each within 4.5 binomial standard errors."""
    for index in np.array_split(np.argsort(probability), 10):
        error = np.sqrt((probability[index] * (1.0 - probability[index])).sum())
        assert abs(label[index].sum() - probability[index].sum()) < 4.5 * error


@pytest.mark.once
def test_labels_are_drawn_from_the_probabilities(log):
    _assert_calibrated(log["click"].to_numpy(), log["click_probability"].to_numpy())
    clicked = log[log["click"] == 1]
    assert len(clicked) > 1_000
    _assert_calibrated(
        clicked["conversion"].to_numpy(), clicked["conversion_probability"].to_numpy()
    )
    assert not log.loc[log["click"] == 0, "conversion"].any()


@pytest.mark.once
@pytest.mark.parametrize("name", ["user_id", "ad_id", "advertiser_id", "site_id", "browser"])
def test_rank_frequency_follows_the_exponent(log, name):
    column = next(column for column in CONFIG.identifiers if column.name == name)
    number = log[name].dropna().str.rsplit("_", n=1).str[1].astype(int).to_numpy()
    rank = np.where(number > column.vocabulary, number - column.vocabulary, number)
    expected = np.arange(1, column.vocabulary + 1.0) ** -column.exponent
    top = min(50, column.vocabulary)
    counts = np.bincount(rank, minlength=top + 1)[1 : top + 1]
    slope = np.polyfit(np.log(np.arange(1, top + 1)), np.log(counts), 1, w=np.sqrt(counts))[0]
    assert slope == pytest.approx(-column.exponent, abs=0.08)
    # The head weighs what Zipf's law gives it, but for the midpoint rule.
    assert counts.sum() / len(rank) == pytest.approx(expected[:top].sum() / expected.sum(), rel=0.1)


@pytest.mark.once
def test_planted_columns(log):
    assert log["request_id"].is_unique
    assert set(log["log_version"]) == {"v1"}
    uniform = log["ab_bucket"].value_counts()
    assert len(uniform) == 1_000
    assert stats.chisquare(uniform).pvalue > 1e-6
    assert log["browser"].value_counts(normalize=True).iloc[0] > 0.3
    assert set(CONFIG.useless_columns) == {
        *("request_id", "browser", "ab_bucket", "log_version", "page_load_seconds")
    }
    assert not {"click", "click_probability"} & set(CONFIG.feature_columns)
    for name in ("browser", "ab_bucket"):
        groups = [g["click_probability"] for _, g in log.groupby(name) if len(g) > 20]
        assert stats.f_oneway(*groups).pvalue > 1e-4


@pytest.mark.once
def test_relevant_columns_move_the_probability(log):
    for name in ("ad_id", "advertiser_id", "site_id", "category", "device", "region", "slot"):
        groups = [g["click_probability"] for _, g in log.groupby(name) if len(g) > 20]
        assert stats.f_oneway(*groups).pvalue < 1e-6, name


@pytest.mark.once
def test_new_values_arrive_over_time(log):
    by_time = log.sort_values("timestamp")
    early, late = by_time.iloc[: ROWS // 4], by_time.iloc[-ROWS // 4 :]
    new = early["ad_id"].str[3:].astype(int) > 5_000, late["ad_id"].str[3:].astype(int) > 5_000
    # A newcomer holds a rank with probability turnover * time: 0.3 / 8 and 0.3 * 7 / 8 on average.
    assert 0.0 < new[0].mean() < 0.1
    assert set(late["ad_id"]) - set(early["ad_id"])
    assert 0.1 < new[1].mean() < 0.5
    assert not (log["category"].str[-6:].astype(int) > 30).any()


@pytest.mark.once
def test_time_spreads_over_days_and_hours(spark):
    config = ClickLogConfig(start=datetime.date(2026, 1, 5), days=14)
    second = F.unix_micros("timestamp") / 1e6 - 1_767_571_200  # midnight UTC of the first day
    drawn = click_log(spark, ROWS, seed=4, config=config).select(second.alias("second"))
    seconds = drawn.toPandas()["second"].to_numpy()
    assert seconds.min() >= 0 and seconds.max() < 14 * 86_400
    days = np.bincount((seconds // 86_400).astype(int), minlength=14)
    weekend = [5, 6, 12, 13]
    ratio = days[weekend].mean() / np.delete(days, weekend).mean()
    assert ratio == pytest.approx(1.25, rel=0.05)
    hours = np.bincount((seconds % 86_400 // 3_600).astype(int), minlength=24)
    expected = 1.0 + 0.75 * np.cos((np.arange(24) - 20) * math.pi / 12)
    assert stats.chisquare(hours, expected * ROWS / 24).pvalue > 1e-6


@pytest.mark.once
def test_numerics_and_missing_values(log):
    assert np.median(log["price"]) == pytest.approx(20.0, rel=0.05)
    assert np.log(log["price"]).std() == pytest.approx(0.8, rel=0.05)
    assert log["age"].isna().mean() == pytest.approx(0.15, abs=0.01)
    age = log["age"].dropna()
    assert age.between(18, 90).all() and (age == age.round()).all()
    assert log["region"].isna().mean() == pytest.approx(0.05, abs=0.01)
    assert log["user_id"].notna().all()


@pytest.mark.once
def test_best_reachable_metrics(spark, log):
    labelled = spark.createDataFrame(log[["click_probability"]])
    p = log["click_probability"].to_numpy()
    # The drawn labels scatter around the expectation, by 0.006 (one standard error) here.
    assert best_auc(labelled) == pytest.approx(roc_auc_score(log["click"], p), abs=0.02)
    assert best_log_loss(labelled) == pytest.approx(log_loss(log["click"], p), rel=0.05)
    # Both labels of every row, weighted by their probability, give the expectation itself.
    both = np.r_[np.ones(ROWS), np.zeros(ROWS)]
    exact = roc_auc_score(both, np.r_[p, p], sample_weight=np.r_[p, 1.0 - p])
    assert best_auc(labelled) == pytest.approx(exact, abs=1e-4)
    assert exact > 0.7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Identifier("ad_id", 0), "vocabulary"),
        (lambda: Identifier("ad_id", 5, -1.0), "exponent"),
        (lambda: Identifier("ad_id", 5, missing=1.5), "missing"),
        (lambda: Numeric("age", 0.0, 0.0), "spread"),
        (lambda: Numeric("price", 1.0, 1.0, log_normal=True), "log_normal"),
        (lambda: ClickLogConfig(click_rate=0.0), "click_rate"),
        (lambda: ClickLogConfig(days=0), "days"),
        (lambda: ClickLogConfig(constants=(("slot", "x"),)), "slot"),
        (lambda: ClickLogConfig(interactions=(Interaction("ad_id", "x", 1.0),)), "'x'"),
        (lambda: ClickLogConfig(contexts=(ContextEffect("price", "ad_id", 1.0),)), "'price'.*'ad"),
        (lambda: ClickLogConfig(contexts=(ContextEffect("ad_id", "ad_id", 1.0),)), "'ad_id'.*'age"),
        (lambda: click_log(None, -1), "rows"),
    ],
)
def test_wrong_settings_name_themselves(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_conversions_come_late_and_like_clicks(spark):
    alike = Identifier(
        "ad_id", 400, 0.0, effect=1.0, conversion_effect=1.0, conversion_correlation=0.8
    )
    config = ClickLogConfig(
        identifiers=(alike,),
        numerics=(),
        interactions=(),
        click_rate=0.3,
        conversion_rate=0.4,
        conversion_delay=2.0,
        **STILL,
    )
    log = click_log(spark, 20_000, config=config)
    assert "conversion_timestamp" not in click_log(spark, 1).columns
    late = F.col("conversion_timestamp").cast("double") - F.col("timestamp").cast("double")
    wrong = F.col("conversion_timestamp").isNull() == (F.col("conversion") == 1)
    found = log.agg(F.avg(late / 86_400), F.min(late), F.sum(wrong.cast("int"))).first()
    assert found[0] == pytest.approx(2.0, rel=0.1)
    assert found[1] > 0 and found[2] == 0
    ads = log.select("ad_id", *TRUTH_COLUMNS).distinct().toPandas()
    assert len(ads) == 400
    logits = [np.log(ads[name] / (1 - ads[name])) for name in TRUTH_COLUMNS]
    assert np.corrcoef(*logits)[0, 1] == pytest.approx(0.8, abs=0.07)
    with pytest.raises(ValueError, match="conversion_correlation"):
        Identifier("ad_id", 4, conversion_correlation=1.5)
    with pytest.raises(ValueError, match="conversion_delay"):
        ClickLogConfig(conversion_delay=-1.0)


def test_candidates_of_a_request_differ_by_their_ads_alone(spark):
    config = ClickLogConfig(candidates=5)
    log = click_log(spark, 2_003, seed=1, partitions=3, config=config).toPandas()
    requests = log.groupby("request_id")
    assert sorted(set(requests.size())) == [3, 5] and requests.ngroups == 401
    columns = [*config.identifiers, *config.numerics]
    varied = requests.nunique(dropna=False).max()
    of_ads = ["bid", *(c.name for c in columns if c.of_ad)]
    assert (varied[of_ads] > 1).all()
    of_requests = ["timestamp", "slot", *(c.name for c in columns if not c.of_ad)]
    assert (varied[of_requests] == 1).all()
    assert log["bid"].min() > 0 and np.log(log["bid"]).std() == pytest.approx(0.5, abs=0.05)
    assert "bid" not in click_log(spark, 1).columns
    with pytest.raises(ValueError, match="bid_spread"):
        ClickLogConfig(bid_spread=-1.0)
    with pytest.raises(ValueError, match="candidates"):
        ClickLogConfig(candidates=0)

"""The hashing benchmark's logs and ids, on few rows; its numbers are not looked at."""

import argparse

import numpy as np
import pytest
from scipy.special import expit

from benchmarks import hashing
from benchmarks.hashing import BEST, COMPRESSIONS, SCHEMES, UNCOMPRESSED, encoded, measure
from benchmarks.hashing_logs import EFFECT, EXPONENTS, INTERCEPT, _normal, zipf_log
from spark_ctr.hashing import seeded_hash
from spark_ctr.training.metrics import roc_auc

ROWS = 4000


@pytest.fixture(scope="module")
def log():
    return zipf_log(3000, 1000, 20_000, seed=7)


def test_the_best_auc_is_that_of_the_probability_that_drew_the_clicks(log):
    logit = np.full(ROWS, INTERCEPT)
    for c, hashes in enumerate(log.hashes):
        logit += EFFECT * _normal(seeded_hash(hashes, ~7))[log.values[:, c]]
    assert log.best["true probability"] == roc_auc(log.label[3000:], logit[3000:])
    assert 0.5 < log.best["true effects of values seen in training"] < log.best["true probability"]
    assert log.label.mean() == pytest.approx(expit(logit).mean(), abs=4 * 0.5 / ROWS**0.5)


def test_effects_are_standard_normal_and_values_follow_zipf():
    effects = _normal(seeded_hash(np.arange(100_000), 3))
    assert (effects.mean(), effects.std()) == pytest.approx((0, 1), abs=0.02)
    log = zipf_log(100_000, 1, 1000, seed=1)
    for counts, exponent in zip(log.counts, EXPONENTS, strict=True):
        # Of a bounded Pareto law: the share of ranks 1 to 30, of 1000.
        power = 1 - exponent
        whole = np.log(1001) if exponent == 1 else (1001**power - 1) / power
        first = np.log(31) if exponent == 1 else (31**power - 1) / power
        assert counts[:30].sum() / 100_000 == pytest.approx(first / whole, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_ids_keep_to_the_rows_and_say_what_the_scheme_says(log, scheme):
    rows = sum(log.distinct) // 10
    inputs, ids = encoded(log, scheme, rows, seed=7)
    blocks = {t.shared or t.name: t.rows for t in inputs.tables}
    assert ids.dtype == np.int32 and ids.shape == (ROWS, inputs.ids_width)
    assert 0.95 * rows < sum(blocks.values()) <= rows
    for s, table in enumerate(inputs.slot_tables):
        assert ids[:, s].min() >= table.lowest and ids[:, s].max() < table.rows
    assert (ids < 0).any() == scheme.signed
    assert len(blocks) == (1 if scheme.shared else len(log.names))
    assert {t.slots for t in inputs.tables} == {1 if scheme.tail == "modulo" else 2}
    # The most frequent value has a row to itself where there is a head.
    pooled = ids.reshape(ROWS, len(log.names), -1)
    for c, counts in enumerate(log.counts):
        most = log.values[:, c] == counts.argmax()
        own = pooled[most, c]
        assert (own == own[0]).all()
        elsewhere = np.isin(pooled[~most, c], own[0]).any()
        if scheme.head:
            assert not elsewhere and len(set(own[0])) == 1


def test_every_scheme_is_measured_on_every_size(monkeypatch, log):
    monkeypatch.setattr(hashing, "zipf_log", lambda *_: log)
    monkeypatch.setattr(hashing, "talking_data", lambda seed: "it is not here")
    arguments = argparse.Namespace(quick=True, seeds=[7], logs=["synthetic", "TalkingData"])
    records = list(measure(arguments))
    auc = {(r.case, r.system): r.value for r in records if r.metric == "auc"}
    sizes = {(r.case, r.system): r.value for r in records if r.metric == "size"}
    names = [f"{times}x" for times in COMPRESSIONS]
    for scheme in SCHEMES:
        for times, name in zip(COMPRESSIONS, names, strict=True):
            assert 0 < auc[f"synthetic: {scheme.name}", name] < 1
            if times == 10:
                whole = sizes["synthetic: one row a value", UNCOMPRESSED]
                assert sizes[f"synthetic: {scheme.name}", name] == pytest.approx(
                    whole / 10, rel=0.05
                )
    assert auc["synthetic: true probability", BEST] == log.best["true probability"]
    difference = auc["synthetic: double minus modulo", "10x"]
    assert difference == auc["synthetic: double", "10x"] - auc["synthetic: modulo", "10x"]

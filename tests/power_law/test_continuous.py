"""Continuous fits against powerlaw, published values and simulated draws."""

import json

import numpy as np
import powerlaw
import pytest

from spark_ctr.power_law import ContinuousPowerLawFit, fit_continuous


@pytest.mark.parametrize(
    "name, scale, xmin, alpha, size",
    [("blackouts", 1000, 230, 2.3, 211), ("cities", 1000, 52.46, 2.37, 19447)],
)
def test_published_values(shared, name, scale, xmin, alpha, size):
    values = np.loadtxt(shared / f"data/powerlaw/{name}.txt")
    fit = fit_continuous(values)
    assert len(values) == size
    assert round(fit.xmin / scale, 2) == pytest.approx(xmin)
    assert fit.alpha == pytest.approx(alpha, abs=0.05 if name == "blackouts" else 0.005)


@pytest.mark.parametrize("alpha", [1.5, 2.5, 3.5])
def test_recovers_alpha_within_two_standard_errors(alpha):
    draws = 3.0 * (1 + np.random.default_rng(5).pareto(alpha - 1, 20_000))
    fit = fit_continuous(draws, xmin=3.0)
    assert abs(fit.alpha - alpha) < 2 * fit.alpha_se
    assert fit.alpha_se == pytest.approx((fit.alpha - 1) / np.sqrt(20_000))
    assert fit.n_tail == 20_000 and fit.ks_distance < 0.01


@pytest.mark.filterwarnings("ignore:Standard error for the MLE:DeprecationWarning")
def test_agrees_with_powerlaw_package():
    rng = np.random.default_rng(2)
    draws = np.concatenate([5 * (1 + rng.pareto(1.4, 600)), rng.uniform(0.5, 5, 200)])
    fit = fit_continuous(draws, min_tail=2)
    theirs = powerlaw.Fit(draws, verbose=0)
    assert fit.xmin == pytest.approx(theirs.xmin)
    assert fit.alpha == pytest.approx(theirs.alpha, abs=1e-6)
    assert fit.ks_distance == pytest.approx(theirs.D, abs=1e-9)
    assert fit.alpha_se == pytest.approx(theirs.power_law.standard_err, rel=1e-6)
    tail = draws[draws >= fit.xmin]
    expected = theirs.power_law.loglikelihoods(tail).sum()
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-6)


def test_order_does_not_matter_and_the_fit_round_trips():
    draws = 1 + np.random.default_rng(0).pareto(1.5, 500)
    fit = fit_continuous(draws)
    assert fit == fit_continuous(draws[::-1])
    assert ContinuousPowerLawFit.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit
    x = np.array([fit.xmin, 2 * fit.xmin])
    np.testing.assert_allclose(fit.survival(x), [1, 2 ** (1 - fit.alpha)])


def test_degenerate_values():
    assert fit_continuous(np.array([])) is None
    assert fit_continuous(np.full(100, 2.5)) is None
    assert fit_continuous(np.arange(1.0, 40.0)) is None
    with pytest.raises(ValueError, match="positive, finite"):
        fit_continuous(np.array([1.0, 0.0]))

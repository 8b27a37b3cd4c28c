"""Discrete distributions that a power-law tail is compared with, fitted to weighted counts.

Log-normal and stretched exponential are rounded: P(x) is the mass of the continuous distribution
on [x - 1/2, x + 1/2], as in the `powerlaw` package, so that they are normalised without a sum. The
exponential is geometric. The truncated power law is normalised over whole numbers like the law
that it nests. All are conditional on x >= xmin.

Both rounded families come as close to a power law as one likes: the log-normal as mu runs to minus
infinity, the stretched exponential as its shape runs to zero. The log-normal is left free, so its
ratio is near 0 where the tail is a pure power law with xmin well above 1. The shape is kept at 0.1
or above, near where the optimisers of other packages stop; freed, it too would end near 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import Bounds, minimize
from scipy.special import erfcx, log_ndtr

# Below this mass relative to the tail beyond, a bin's log mass is that of the density at its
# centre: the difference of two survival functions would only lose digits.
_THIN = 1e-6
_SHIFT = 30  # terms of the truncated law's normaliser summed directly
_PANELS = 24  # of the quadrature of its remainder
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
_DECAYED = 45.0  # exp(-45) adds nothing to a double
_LEAST_SHAPE = 0.1  # of the stretched exponential, see above


def _maximum(
    likelihood: Callable[[np.ndarray], float], starts: list[list[float]], bounds: Bounds
) -> np.ndarray:
    """Return the best parameters found from any of the starts."""
    results = [
        minimize(
            lambda parameters: -likelihood(parameters),
            np.clip(start, bounds.lb, bounds.ub),
            method="Nelder-Mead",  # differences of likelihoods are too noisy for gradients
            bounds=bounds,
            options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 400},
        )
        for start in starts
    ]
    return min(results, key=lambda result: result.fun).x


def exponential(x: np.ndarray, weights: np.ndarray, xmin: int) -> np.ndarray:
    """Return the log-probability of each x under the best exponential.

    Parameters
    ----------
    x : float64 array, shape (U,)
        Distinct counts >= xmin.
    weights : float64 array, shape (U,)
        How many values have each count.
    xmin : int

    Returns
    -------
    float64 array, shape (U,)
        In nats.
    """
    mean = np.average(x - xmin, weights=weights)
    return -(x - xmin) * np.log1p(1 / mean) - np.log1p(mean)


def _rounded(log_start: np.ndarray, log_ratio: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    """Log mass of bins from log S(left), ln S(right) - ln S(left), and density times width."""
    mass = -np.expm1(log_ratio)
    thick = mass > _THIN
    return np.where(thick, log_start + np.log(np.where(thick, mass, 1.0)), log_density)


def lognormal(x: np.ndarray, weights: np.ndarray, xmin: int) -> np.ndarray:
    """Return the log-probability of each x under the best log-normal; see `exponential`.

    Written by the slope of the log-density at xmin and its curvature 1 / sigma**2, which stay
    finite where mu runs to minus infinity, as it does on data from a power law.
    """
    left, right = (np.log((x + shift) / (xmin - 0.5)) for shift in (-0.5, 0.5))
    centre = np.log(x / (xmin - 0.5))
    average = np.average(centre, weights=weights)
    scale = weights.sum()

    def log_survival(u: np.ndarray, slope: float, sigma: float) -> np.ndarray:
        # z = (ln y - mu) / sigma, by u = ln(y / (xmin - 1/2)); erfcx has no underflow
        z, start = slope * sigma + u / sigma, slope * sigma
        if start <= 0:
            return log_ndtr(-z) - log_ndtr(-start)
        ratio = erfcx(z / np.sqrt(2)) / erfcx(start / np.sqrt(2))
        return np.log(ratio) - u * (slope + u / (2 * sigma**2))

    def log_mass(parameters: np.ndarray) -> np.ndarray:
        slope, sigma = parameters[0], np.exp(parameters[1])
        start = slope * sigma
        at = log_survival(left, slope, sigma)
        log_hazard = -np.log(sigma) - _log_mills(start)
        density = log_hazard - centre * (slope + centre / (2 * sigma**2)) - np.log(x)
        return _rounded(at, log_survival(right, slope, sigma) - at, density)

    spread = np.log(np.sqrt(np.average((centre - average) ** 2, weights=weights)))
    found = _maximum(
        lambda parameters: float(weights @ log_mass(parameters)) / scale,
        [[1 / average, 2.0], [1 / average - average * np.exp(-2 * spread), spread]],
        Bounds([-100.0, -4.0], [100.0, 12.0]),
    )
    return log_mass(found)


def _log_mills(z: float) -> float:
    """Ln of the standard normal's (1 - CDF) / density at z."""
    if z <= 0:
        return float(log_ndtr(-z) + z * z / 2 + np.log(2 * np.pi) / 2)
    return float(np.log(erfcx(z / np.sqrt(2)) * np.sqrt(np.pi / 2)))


def stretched_exponential(x: np.ndarray, weights: np.ndarray, xmin: int) -> np.ndarray:
    """Return the log-probability of each x under the best stretched exponential (Weibull).

    See `exponential`. Written by the shape and by the slope of ln S at xmin, which stays finite
    where the shape runs to zero, as it does on data from a power law.
    """
    left = np.log((x - 0.5) / (xmin - 0.5))
    width = np.log1p(1 / (x - 0.5))
    centre = np.log(x / (xmin - 0.5))
    scale = weights.sum()

    def log_mass(parameters: np.ndarray) -> np.ndarray:
        slope, shape = np.exp(parameters)
        at = -slope * np.expm1(shape * left) / shape
        ratio = -slope * np.exp(shape * left) * np.expm1(shape * width) / shape
        density = np.log(slope) + shape * centre - slope * np.expm1(shape * centre) / shape
        return _rounded(at, ratio, density - np.log(x))

    start = -np.log(np.average(left + width / 2, weights=weights))

    with np.errstate(over="ignore"):
        found = _maximum(
            lambda parameters: float(weights @ log_mass(parameters)) / scale,
            [[start, np.log(0.15)], [start, np.log(0.5)]],
            Bounds([-20.0, np.log(_LEAST_SHAPE)], [20.0, np.log(20.0)]),
        )
        return log_mass(found)


def truncated_log_zeta(alpha: float, rate: float, xmin: int) -> float:
    """Ln of the sum over whole x >= xmin of (x / xmin)**-alpha exp(-rate (x - xmin))."""
    direct = np.arange(xmin, xmin + _SHIFT, dtype=float)
    total = np.sum(np.exp(-alpha * np.log(direct / xmin) - rate * (direct - xmin)))
    a = float(xmin + _SHIFT)
    at = np.exp(-alpha * np.log(a / xmin) - rate * (a - xmin))
    # integral over t = a e^w, in panels of Gauss-Legendre to where the integrand has decayed
    end = np.log1p(_DECAYED / (rate * a))
    if alpha > 1:
        end = min(end, _DECAYED / (alpha - 1))
    w = end * (np.arange(_PANELS)[:, None] + (_NODES + 1) / 2) / _PANELS
    integrand = np.exp((1 - alpha) * w - rate * a * np.expm1(w))
    integral = a * end / (2 * _PANELS) * np.sum(_NODE_WEIGHTS * integrand)
    # Euler-Maclaurin, with f' = g f
    g, g1, g2 = -alpha / a - rate, alpha / a**2, -2 * alpha / a**3
    third = g**3 + 3 * g * g1 + g2
    return float(np.log(total + at * (integral + 0.5 - g / 12 + third / 720)))


def truncated_power_law(x: np.ndarray, weights: np.ndarray, xmin: int) -> np.ndarray:
    """Return the log-probability of each x under the best x**-alpha exp(-rate x).

    See `exponential`. The likelihood is concave; alpha is any real number, and rate reaches zero,
    the power law itself, as closely as the data want it.
    """
    log_x, beyond = np.log(x / xmin), x - xmin
    mean_log = np.average(log_x, weights=weights)
    mean = np.average(beyond, weights=weights)

    def likelihood(parameters: np.ndarray) -> float:
        alpha, rate = parameters[0], np.exp(parameters[1])
        return -alpha * mean_log - rate * mean - truncated_log_zeta(alpha, rate, xmin)

    start = 1 + 1 / (mean_log + np.log(xmin / (xmin - 0.5)))
    found = _maximum(
        likelihood,
        [[start, -np.log(10 * x[-1])], [1.0, -np.log(mean + 1)]],
        Bounds([-20.0, -60.0], [100.0, 4.0]),
    )
    alpha, rate = found[0], np.exp(found[1])
    return -alpha * log_x - rate * beyond - truncated_log_zeta(alpha, rate, xmin)


DISTRIBUTIONS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "lognormal": lognormal,
    "exponential": exponential,
    "truncated_power_law": truncated_power_law,
    "stretched_exponential": stretched_exponential,
}

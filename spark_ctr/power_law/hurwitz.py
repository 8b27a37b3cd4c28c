"""Hurwitz zeta function on a log scale, with its first two derivatives in the exponent."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import polynomial

# Leading terms summed directly where the asymptotic series would not converge.
_SHIFT = 12

# B_2k / (2k)! for k = 1, ..., 5 (Euler-Maclaurin)
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


def _bernoulli_polynomials() -> np.ndarray:
    """Polynomials in alpha, B_2k / (2k)! alpha (alpha + 1) ... (alpha + 2k - 2), and derivatives.

    Returns
    -------
    float64 array, shape (3 * terms, degrees)
        Coefficients of derivatives 0, 1, 2 of each term.
    """
    terms = len(_BERNOULLI)
    table = np.zeros((3, terms, 2 * terms))
    for k, weight in enumerate(_BERNOULLI):
        series = weight * polynomial.polyfromroots(-np.arange(2 * k + 1))
        for order in range(3):
            derivative = polynomial.polyder(series, order)
            table[order, k, : len(derivative)] = derivative
    return table.reshape(3 * terms, -1)


_POLYNOMIALS = _bernoulli_polynomials()


def _terms(alpha: np.ndarray, orders: int) -> np.ndarray:
    """Evaluate the polynomials' first derivatives; shape (orders, terms, *alpha.shape)."""
    powers = np.vander(alpha.ravel(), _POLYNOMIALS.shape[1], increasing=True)
    values = _POLYNOMIALS[: orders * len(_BERNOULLI)] @ powers.T
    return values.reshape(orders, -1, *alpha.shape)


def _small(alpha: np.ndarray, q: np.ndarray) -> np.ndarray:
    return q < np.maximum(12.0, 2.0 * alpha)


def _series(alpha: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return q**alpha * zeta(alpha, q) where no entry is small; broadcasts."""
    inverse = 1 / q
    square = inverse * inverse
    (terms,) = _terms(alpha, 1)
    total = terms[-1] * square
    for term in terms[-2:0:-1]:
        total = (total + term) * square
    return (total + terms[0]) * inverse + 0.5 + q / (alpha - 1)


def _with_derivatives(alpha: np.ndarray, q: np.ndarray, shift: int) -> tuple[np.ndarray, ...]:
    """Return q**alpha * zeta(alpha, q) and its alpha-derivatives at fixed q; 1-d arrays."""
    a, s = q + shift, alpha - 1
    # p is the polynomial part of the remainder; each product p(alpha) * r is differentiated below
    powers = a ** -(2.0 * np.arange(len(_BERNOULLI))[:, None] + 1)
    p0, p1, p2 = (_terms(alpha, 3) * powers).sum(axis=1)
    p0 += a / s + 0.5
    p1 -= a / s**2
    p2 += 2 * a / s**3
    if not shift:
        return p0, p1, p2
    u = np.log1p(np.arange(shift + 1)[:, None] / q)
    terms = np.exp(-alpha * u)
    r, w = terms[-1], u[-1]
    terms, u = terms[:-1], u[:-1]
    return (
        terms.sum(axis=0) + r * p0,
        -(u * terms).sum(axis=0) + r * (p1 - w * p0),
        (u * u * terms).sum(axis=0) + r * (p2 - 2 * w * p1 + w * w * p0),
    )


def scaled_zeta(alpha: float | np.ndarray, q: float | np.ndarray) -> np.ndarray:
    """Return q**alpha * zeta(alpha, q).

    The factor q**alpha keeps the value finite where zeta(alpha, q) itself underflows (large q
    with large alpha). Euler-Maclaurin summation with five Bernoulli terms, after a shift for
    small q; the relative error is below 1e-9 for 1 < alpha <= 100.

    Parameters
    ----------
    alpha : float or float64 array
        Exponent, > 1. Broadcast against `q`.
    q : float or array
        First term of the sum, >= 1.

    Returns
    -------
    float64 array
        Of the broadcast shape.
    """
    exponent, start = np.asarray(alpha, float), np.asarray(q, float)
    out = np.asarray(_series(exponent, start))
    small = _small(exponent, start)
    if small.any():
        a, b = (np.broadcast_to(x, out.shape)[small] for x in (exponent, start))
        terms = np.exp(-a * np.log1p(np.arange(_SHIFT + 1)[:, None] / b))
        out[small] = terms[:-1].sum(axis=0) + terms[-1] * _series(a, b + _SHIFT)
    return out


def log_scaled_zeta(
    alpha: float | np.ndarray, q: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logarithm of `scaled_zeta` and its first and second derivative in alpha.

    Parameters
    ----------
    alpha : float or float64 array
        Exponent, > 1. Broadcast against `q`.
    q : float or array
        First term of the sum, >= 1.
    """
    alpha, q = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(q, float))
    out = np.empty((3, *alpha.shape))
    small = _small(alpha, q)
    for mask, shift in ((small, _SHIFT), (~small, 0)):
        if mask.any():
            z0, z1, z2 = _with_derivatives(alpha[mask], q[mask], shift)
            out[:, mask] = np.log(z0), z1 / z0, z2 / z0 - (z1 / z0) ** 2
    return out[0], out[1], out[2]

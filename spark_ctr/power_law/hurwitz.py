"""Hurwitz zeta function on a log scale, with its first two derivatives in the exponent."""

from __future__ import annotations

import numpy as np

_SHIFT = 40  # leading terms summed directly where the asymptotic series would not converge

# B_2k / (2k)! for k = 1, 2, 3 (Euler-Maclaurin)
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240)


def _euler_maclaurin(alpha: np.ndarray, q: np.ndarray, shift: int) -> tuple[np.ndarray, ...]:
    """Return q**alpha * zeta(alpha, q) and its alpha-derivatives at fixed q; 1-d arrays."""
    z0, z1, z2 = np.zeros_like(alpha), np.zeros_like(alpha), np.zeros_like(alpha)
    for k in range(shift):
        u = np.log1p(k / q)
        term = np.exp(-alpha * u)
        z0 += term
        z1 -= u * term
        z2 += u * u * term
    a, s = q + shift, alpha - 1
    w = np.log(a / q)
    r = np.exp(-alpha * w)
    # p is the polynomial part of the remainder; each product p(alpha) * r is differentiated below
    p0 = a / s + 0.5
    p1 = -a / s**2
    p2 = 2 * a / s**3
    rising = np.poly1d([1.0])  # alpha (alpha + 1) ... rising factorial
    for k, weight in enumerate(_BERNOULLI):
        first = 0 if k == 0 else 2 * k - 1
        for i in range(first, 2 * k + 1):
            rising = rising * np.poly1d([1.0, i])
        power = weight * a ** -(2.0 * k + 1)
        p0 = p0 + power * rising(alpha)
        p1 = p1 + power * rising.deriv()(alpha)
        p2 = p2 + power * rising.deriv(2)(alpha)
    z0 += r * p0
    z1 += r * (p1 - w * p0)
    z2 += r * (p2 - 2 * w * p1 + w * w * p0)
    return z0, z1, z2


def log_scaled_zeta(
    alpha: float | np.ndarray, q: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln(q**alpha * zeta(alpha, q)) and its first and second derivative in alpha.

    The factor q**alpha keeps the value finite where zeta(alpha, q) itself underflows (large q
    with large alpha). Euler-Maclaurin summation with three Bernoulli terms, after a shift for
    small q; the relative error is below 1e-9 for 1 < alpha <= 100.

    Parameters
    ----------
    alpha : float or float64 array
        Exponent, > 1. Broadcast against `q`.
    q : float or array
        First term of the sum, >= 1.
    """
    alpha, q = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(q, float))
    out = np.empty((3, *alpha.shape))
    small = q < np.maximum(20.0, 3.0 * alpha)
    for mask, shift in ((small, _SHIFT), (~small, 0)):
        if mask.any():
            z0, z1, z2 = _euler_maclaurin(alpha[mask], q[mask], shift)
            out[:, mask] = np.log(z0), z1 / z0, z2 / z0 - (z1 / z0) ** 2
    return out[0], out[1], out[2]

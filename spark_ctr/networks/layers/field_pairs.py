"""Second-order factorisation machine term."""

from __future__ import annotations

from torch import Tensor


def factorization_machine(fields: Tensor) -> Tensor:
    """Sum the inner products of all pairs of fields in O(C k).

    Parameters
    ----------
    fields : Tensor, float32, [B, C, k]

    Returns
    -------
    Tensor, float32, [B, 1]
        Sum over i < j of <v_i, v_j>.

    References
    ----------
    Rendle, "Factorization Machines", ICDM 2010, lemma 3.1.
    """
    square_of_sum = fields.sum(1).square()
    sum_of_squares = fields.square().sum(1)
    return 0.5 * (square_of_sum - sum_of_squares).sum(1, keepdim=True)

"""A permutation test of paired differences: whether their signs could be random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["sign_flip_p_value"]

_EXACT = 16  # up to this many pairs, all signs are tried


def sign_flip_p_value(differences: npt.NDArray[np.float64], *, seed: int = 0) -> float:
    """Return the two-sided p-value of a mean difference under random signs.

    With up to 16 differences, all signs are tried; with more, 100,000 sets are drawn.

    Parameters
    ----------
    differences : float64 array [shape=(n,)]
        Finite, at least one.
    seed : int
        Seed of the drawn signs.

    Returns
    -------
    float
        Above 0, at most 1.

    Examples
    --------
    >>> sign_flip_p_value(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    n = differences.size
    # The rounding error is relative to the summands, not to the sum.
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    if n <= _EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ differences) >= observed).mean())
    random = np.random.default_rng(seed)
    hits, drawn = 0, 100_000
    for _ in range(10):
        signs = random.integers(0, 2, (drawn // 10, n)) * 2 - 1
        hits += int((np.abs(signs @ differences) >= observed).sum())
    # The observed signs are one of the possible draws.
    return (hits + 1) / (drawn + 1)

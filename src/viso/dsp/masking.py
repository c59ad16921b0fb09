"""Makes masks from estimates, and splits a mixture into two stems that add up to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["binary_mask", "joint_gain", "ratio_mask", "split"]

Floats = npt.NDArray[np.float32]


def ratio_mask(target: npt.NDArray[Any], other: npt.NDArray[Any], *, power: float = 1.0) -> Floats:
    """Return ``|target|^p / (|target|^p + |other|^p)``.

    Parameters
    ----------
    target, other : real or complex arrays of one shape
    power : float
        1 gives the magnitude ratio, 2 the Wiener-like power ratio.

    Returns
    -------
    float32 array of that shape, 0.5 where both are silent.
    """
    a = np.abs(target).astype(np.float64) ** power
    b = np.abs(other).astype(np.float64) ** power
    total = a + b
    mask = np.divide(a, total, out=np.full_like(total, 0.5), where=total > 0)
    return np.asarray(mask, np.float32)


def binary_mask(target: npt.NDArray[Any], other: npt.NDArray[Any]) -> Floats:
    """Return 1 where ``|target| > |other|``, else 0 (float32, same shape)."""
    return np.asarray(np.abs(target) > np.abs(other), np.float32)


def split(mixture: Floats, vocals: Floats) -> tuple[Floats, Floats]:
    """Return vocals and instrumental that add up to the mixture.

    Both come from a subtraction::

        i = x - v        v' = x - i

    In float32 the second subtraction rounds v to a value for which ``v' + i == x`` exactly,
    wherever such a value exists: always if x comes from samples of 24 bits or fewer within
    full scale, and for any x where ``|v| <= |x|``. No such value exists for some other samples,
    where the stems cancel (``|v| > |x|``) and x has bits finer than any float32 of the stems'
    size. There the sum is the nearest that float32 stems can have; its error is less than 2^-24
    of the stem.

    Parameters
    ----------
    mixture, vocals : float32 arrays of one shape

    Returns
    -------
    vocals, instrumental : float32 arrays of that shape
    """
    instrumental = mixture - vocals
    return mixture - instrumental, instrumental


def joint_gain(low: float, high: float, *, bits: int) -> float:
    """Return the one gain that brings all stems into the range of an integer format.

    Parameters
    ----------
    low, high : float
        Smallest and largest sample of all stems, full scale 1.0.
    bits : int
        Depth of the format; its range is -1 to ``1 - 2 ** (1 - bits)``.

    Returns
    -------
    float
        1.0 if nothing would clip. Otherwise a factor below 1 that leaves one step of the
        format free, because one stem takes up the rounding of the others.
    """
    step = 2.0 ** (1 - bits)
    if low >= -1.0 and high <= 1.0 - step:
        return 1.0
    return (1.0 - 2.0 * step) / max(high, -low)

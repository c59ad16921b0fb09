"""How close an estimate is to the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["usdr"]


def usdr(reference: npt.NDArray[np.float32], estimate: npt.NDArray[np.float32]) -> float:
    """Return the signal-to-distortion ratio over a whole song, in decibels.

    ``10 log10(sum s^2 / sum (s - e)^2)`` over all samples and channels, as in the Music
    Demixing Challenge 2021.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]

    Returns
    -------
    float
        ``inf`` for a perfect estimate, ``-inf`` for any sound beside a silent reference,
        ``nan`` where both are silent.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"reference has shape {reference.shape}, estimate {estimate.shape}")
    signal = float(np.sum(reference.astype(np.float64) ** 2))
    error = float(np.sum((reference.astype(np.float64) - estimate) ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.float64(signal) / np.float64(error)))

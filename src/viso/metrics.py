"""How close an estimate is to the truth, and how close a mask could come at best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.config import SpectralConfig
from viso.spectral import istft, stft

__all__ = ["oracle", "usdr"]

MaskOf = Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[np.float32]]


def oracle(
    vocals: npt.NDArray[np.float32],
    instrumental: npt.NDArray[np.float32],
    *,
    config: SpectralConfig,
    mask_of: MaskOf,
) -> npt.NDArray[np.float32]:
    """Return the vocals that a mask made from the truth takes out of the mixture.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    config : SpectralConfig
    mask_of : callable
        From the complex spectra of both to a mask, such as `viso.masking.ratio_mask`.

    Returns
    -------
    float32 array [shape=(channels, n)]
    """
    target, other = stft(vocals, config=config), stft(instrumental, config=config)
    masked = (target + other) * mask_of(target, other)
    return istft(masked, config=config, n_samples=vocals.shape[1])


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

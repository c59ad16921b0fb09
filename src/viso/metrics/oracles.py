"""The best result of a kind of mask or Wiener filter, from the truth: bounds, not estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, SpectralConfig, Synthesis

__all__ = ["oracle", "oracle_wiener"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
MaskOf = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Floats]

# Samples in a block, so that the spectra of a whole song are never in memory together.
_BLOCK = 1 << 18


def oracle(
    vocals: Floats, instrumental: Floats, *, config: SpectralConfig, mask_of: MaskOf
) -> Floats:
    """Return the vocals that a mask computed from the truth extracts from the mixture.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    config : SpectralConfig
    mask_of : callable
        Maps the complex spectra of both to a mask, such as `viso.dsp.masking.ratio_mask`.

    Returns
    -------
    float32 array [shape=(channels, n)]

    See Also
    --------
    oracle_wiener : a filter that also uses the positions of the sources in the stereo image.
    """

    def masked(target: Complexes, other: Complexes) -> Complexes:
        product: Complexes = (target + other) * mask_of(target, other)
        return product

    return _filtered(vocals, instrumental, masked, config)


def oracle_wiener(vocals: Floats, instrumental: Floats, *, config: SpectralConfig) -> Floats:
    """Return the vocals that a multichannel Wiener filter computed from the truth extracts.

    Both sources are modelled as full-rank local Gaussians: in bin f and frame t the spectrum s of a
    source has the covariance ``v(f, t) R(f)``, with its power v and its spatial covariance R::

        v(f, t) = |s(f, t)|^2 / channels
        R(f)    = sum_t s s^H / sum_t v
        y       = v R (v R + v' R')^-1 x

    v' and R' belong to the other source, and x is the mixture. All of them come from the truth.
    With one channel this is the ratio mask of power 2.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    config : SpectralConfig

    Returns
    -------
    float32 array [shape=(channels, n)]

    References
    ----------
    N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source
    separation using a full-rank spatial covariance model", IEEE TASLP 18(7), 2010.
    F.-R. Stoter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
    LVA/ICA 2018 (the oracle MWF).
    """
    places = [_place(source, config) for source in (vocals, instrumental)]
    return _filtered(vocals, instrumental, _Wiener(*places), config)


def _spectra(audio: Floats, config: SpectralConfig) -> Iterator[Complexes]:
    """Yield the frames of a signal, block by block [shape=(channels, bins, frames)]."""
    analysis = Analysis(config, n_channels=audio.shape[0])
    for first in range(0, audio.shape[1], _BLOCK):
        yield analysis.push(audio[:, first : first + _BLOCK])
    yield analysis.finish()


def _filtered(
    vocals: Floats,
    instrumental: Floats,
    vocals_of: Callable[[Complexes, Complexes], Complexes],
    config: SpectralConfig,
) -> Floats:
    """Return the signal whose spectrum `vocals_of` computes from the spectra of both."""
    result, n = np.empty_like(vocals, np.float32), 0
    synthesis = Synthesis(config, n_channels=vocals.shape[0])
    for pair in zip(_spectra(vocals, config), _spectra(instrumental, config), strict=True):
        block = synthesis.push(vocals_of(*pair))[:, : vocals.shape[1] - n]
        result[:, n : n + block.shape[1]] = block
        n += block.shape[1]
    result[:, n:] = synthesis.finish(vocals.shape[1])
    return result


class _Wiener:
    """Filters the sum of two spectra [shape=(channels, bins, frames)] by their spatial covariances.

    One change of basis makes both covariances diagonal. In this basis the filter is an ordinary
    mask. So no bin or frame needs a matrix inverse, and a mono source, whose R has none, causes no
    error.
    """

    def __init__(
        self, target: npt.NDArray[np.complex128], other: npt.NDArray[np.complex128]
    ) -> None:
        self._both = target + other
        size, axes = np.linalg.eigh(self._both)
        floor = size[:, -1:] * size.shape[1] * np.finfo(np.float64).eps
        scale = np.divide(
            1, np.sqrt(np.maximum(size, 0)), out=np.zeros_like(size), where=size > floor
        )
        whitening = axes * scale[:, None, :]
        # The target's share of each direction, in [0, 1].
        share, turn = np.linalg.eigh(_adjoint(whitening) @ target @ whitening)
        self._share = np.clip(share, 0, 1)[:, :, None]
        self._directions = whitening @ turn

    def __call__(self, target: Complexes, other: Complexes) -> Complexes:
        wanted, rest = (
            share * _power(source)[:, None]
            for share, source in ((self._share, target), (1 - self._share, other))
        )
        total = wanted + rest
        gain = np.divide(wanted, total, out=np.full_like(total, 0.5), where=total > 0)
        mixture = (target + other).transpose(1, 0, 2)
        along = _adjoint(self._directions) @ mixture
        filtered = self._both @ self._directions @ (gain * along)
        return np.asarray(filtered.transpose(1, 0, 2), np.complex64)


def _power(source: Complexes) -> npt.NDArray[np.float64]:
    """Return v [shape=(bins, frames)] of a source."""
    power: npt.NDArray[np.float64] = np.mean(
        source.real.astype(np.float64) ** 2 + source.imag.astype(np.float64) ** 2, axis=0
    )
    return power


def _place(audio: Floats, config: SpectralConfig) -> npt.NDArray[np.complex128]:
    """Return the spatial covariance R [shape=(bins, channels, channels)] of a source."""
    n_channels = audio.shape[0]
    covariance = np.zeros((config.n_bins, n_channels, n_channels), np.complex128)
    total = np.zeros((config.n_bins, 1, 1))
    for frames in _spectra(audio, config):
        wide = frames.transpose(1, 0, 2).astype(np.complex128)
        covariance += wide @ _adjoint(wide)
        total[:, 0, 0] += _power(frames).sum(axis=1)
    return np.divide(covariance, total, out=np.zeros_like(covariance), where=total > 0)


def _adjoint(matrices: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    return matrices.conj().swapaxes(1, 2)

"""The short-time Fourier transform and its exact inverse, whole or as a stream, in numpy.

Frame t covers samples ``t hop - n_fft/2 ... t hop + n_fft/2``, times a window w (periodic Hann or
rectangular) with zeros around it if it is shorter. Outside the signal there is silence. The
inverse adds the frames y_t and divides by the sum of the squared windows::

    x^(n) = sum_t w(n - t hop) y_t(n) / sum_t w(n - t hop)^2

This returns x if the frames are unchanged, at the edges too. `Analysis` and `Synthesis` do
the same block by block; `stft` and `istft` are one push through them, so a stream and a whole
array give the same bits. The numbers equal those of ``torch.stft(center=True,
pad_mode="constant")``.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from viso.config import Settings

__all__ = ["Analysis", "SpectralConfig", "Synthesis", "frames_for", "istft", "stft"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

# Frames transformed at a time: their working memory stays in the cache and is reused.
_FRAMES_AT_ONCE = 16


class SpectralConfig(Settings):
    """Settings of a model's short-time Fourier transform.

    `n_fft` is the transform's length in samples, `hop` the number of samples between frames, and
    `rate_hz` the sampling rate for both. `window` is the window's length, by default `n_fft`;
    a shorter window has zeros around it. `window_type` is its shape: periodic Hann, or
    rectangular, which is 1 over its whole length.
    """

    rate_hz: int = Field(44_100, ge=1_000, le=768_000)
    n_fft: int = Field(4096, ge=16, le=65_536)
    hop: int = Field(1024, ge=1)
    window: int | None = Field(None, ge=16)
    window_type: Literal["hann", "rectangular"] = "hann"

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        # With less overlap, every window is near zero at the last samples of a signal.
        if self.hop * 3 > self.n_fft or self.n_fft % 2:
            raise ValueError(f"n_fft {self.n_fft} must be even and at least 3 times hop {self.hop}")
        if self.window is not None and (
            self.window % 2 or not 3 * self.hop <= self.window <= self.n_fft
        ):
            raise ValueError(
                f"window {self.window} must be even, at least 3 times hop {self.hop} and at most "
                f"n_fft {self.n_fft}"
            )
        return self

    @property
    def n_bins(self) -> int:
        """Frequency bins of one frame."""
        return self.n_fft // 2 + 1

    @property
    def window_length(self) -> int:
        """Samples of the window without the zeros around it."""
        return self.n_fft if self.window is None else self.window


def hann(n_fft: int) -> Floats:
    """Return the periodic Hann window [shape=(n_fft,)]."""
    phase = 2 * np.pi * np.arange(n_fft) / n_fft
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def padded_window(config: SpectralConfig) -> Floats:
    """Return the transform's window with the zeros around it [shape=(n_fft,)]."""
    length = config.window_length
    window = hann(length) if config.window_type == "hann" else np.ones(length, np.float32)
    return np.pad(window, (config.n_fft - length) // 2)


def frames_for(n_samples: int, *, hop: int) -> int:
    """Return the number of frames that cover `n_samples` samples."""
    return 1 + n_samples // hop


class Analysis:
    """Samples in, frames out, in blocks of any length.

    Parameters
    ----------
    config : SpectralConfig
    n_channels : int
    """

    def __init__(self, config: SpectralConfig, *, n_channels: int) -> None:
        self._n_fft, self._hop = config.n_fft, config.hop
        # Scaled up here and down again by norm="forward" below: with its default norm, numpy
        # converts float32 input, which takes six times as long.
        self._window = padded_window(config) * np.float32(config.n_fft)
        self._work = np.empty((n_channels, _FRAMES_AT_ONCE, config.n_fft), np.float32)
        self._rest = np.zeros((n_channels, config.n_fft // 2), np.float32)
        self._n_samples = 0
        self._n_frames = 0

    def push(self, block: Floats) -> Complexes:
        """Add samples and return the frames that they complete.

        Parameters
        ----------
        block : float32 array [shape=(channels, n)]

        Returns
        -------
        complex64 array [shape=(channels, bins, frames)]
            `frames` may be 0. The array is a view whose memory runs along the bins.
        """
        self._n_samples += block.shape[1]
        signal = np.concatenate([self._rest, block], axis=1)
        n = max(0, 1 + (signal.shape[1] - self._n_fft) // self._hop)
        return self._frames(signal, n)

    def finish(self) -> Complexes:
        """Return the frames that reach beyond the end of the signal."""
        n = frames_for(self._n_samples, hop=self._hop) - self._n_frames
        need = self._n_fft + (n - 1) * self._hop
        signal = np.pad(self._rest, ((0, 0), (0, max(0, need - self._rest.shape[1]))))
        return self._frames(signal, n)

    def _frames(self, signal: Floats, n: int) -> Complexes:
        self._rest = signal[:, n * self._hop :]
        self._n_frames += n
        if n <= 0:
            return np.zeros((signal.shape[0], self._n_fft // 2 + 1, 0), np.complex64)
        views = np.lib.stride_tricks.sliding_window_view(signal, self._n_fft, axis=1)
        views = views[:, : n * self._hop : self._hop]
        frames = np.empty((signal.shape[0], n, self._n_fft // 2 + 1), np.complex64)
        for first in range(0, n, _FRAMES_AT_ONCE):
            part = slice(first, min(n, first + _FRAMES_AT_ONCE))
            work = self._work[:, : part.stop - first]
            np.multiply(views[:, part], self._window, out=work)
            # numpy's annotations do not know that float32 stays float32.
            np.fft.rfft(work, axis=2, norm="forward", out=frames[:, part])  # type: ignore[arg-type]
        return frames.transpose(0, 2, 1)


class Synthesis:
    """Frames in, samples out, in blocks of any length: the exact inverse of `Analysis`.

    Parameters
    ----------
    config : SpectralConfig
    n_channels : int
    """

    def __init__(self, config: SpectralConfig, *, n_channels: int) -> None:
        self._n_fft, self._hop = config.n_fft, config.hop
        self._window = padded_window(config)
        self._square = self._window**2
        self._work = np.empty((n_channels, _FRAMES_AT_ONCE, config.n_fft), np.float32)
        self._tail = np.zeros((n_channels, config.n_fft), np.float32)
        self._weight = np.zeros(config.n_fft, np.float32)
        self._skip = config.n_fft // 2
        self._n_samples = 0

    def push(self, frames: Complexes) -> Floats:
        """Add frames and return the samples that no later frame can change.

        Parameters
        ----------
        frames : complex64 array [shape=(channels, bins, frames)]

        Returns
        -------
        float32 array [shape=(channels, n)]
        """
        n = frames.shape[2]
        if n == 0:
            return np.zeros((frames.shape[0], 0), np.float32)
        length = n * self._hop
        total = np.zeros((frames.shape[0], length + self._n_fft), np.float32)
        weight = np.zeros(length + self._n_fft, np.float32)
        total[:, : self._n_fft] = self._tail
        weight[: self._n_fft] = self._weight
        for first in range(0, n, _FRAMES_AT_ONCE):
            part = frames[:, :, first : first + _FRAMES_AT_ONCE].transpose(0, 2, 1)
            pieces = self._work[:, : part.shape[1]]
            np.fft.irfft(part, n=self._n_fft, axis=2, out=pieces)  # type: ignore[arg-type]
            pieces *= self._window
            for t in range(part.shape[1]):
                span = slice((first + t) * self._hop, (first + t) * self._hop + self._n_fft)
                total[:, span] += pieces[:, t]
                weight[span] += self._square
        self._tail = total[:, length:].copy()
        self._weight = weight[length:].copy()
        return self._release(total[:, :length], weight[:length])

    def finish(self, n_samples: int) -> Floats:
        """Return the remaining samples, so that all returned samples are `n_samples`."""
        rest = self._release(self._tail, self._weight)
        missing = n_samples - (self._n_samples - rest.shape[1])
        return rest[:, :missing]

    def _release(self, total: Floats, weight: Floats) -> Floats:
        skip = min(self._skip, total.shape[1])
        self._skip -= skip
        total, weight = total[:, skip:], weight[skip:]
        self._n_samples += total.shape[1]
        # Samples that no window covers are zero; 1e-8 only avoids a division by zero.
        return np.divide(total, np.maximum(weight, np.float32(1e-8)), dtype=np.float32)


def stft(audio: Floats, *, config: SpectralConfig) -> Complexes:
    """Return the transform of a whole signal.

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
    config : SpectralConfig

    Returns
    -------
    complex64 array [shape=(channels, bins, 1 + n // hop)]

    See Also
    --------
    istft : the inverse.
    """
    analysis = Analysis(config, n_channels=audio.shape[0])
    return np.concatenate([analysis.push(audio), analysis.finish()], axis=2)


def istft(frames: Complexes, *, config: SpectralConfig, n_samples: int) -> Floats:
    """Return the `n_samples` samples of frames [shape=(channels, n_samples)].

    See Also
    --------
    stft : the transform this inverts.
    """
    synthesis = Synthesis(config, n_channels=frames.shape[0])
    return np.concatenate([synthesis.push(frames), synthesis.finish(n_samples)], axis=1)

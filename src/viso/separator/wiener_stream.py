"""The multichannel Wiener filter on a song of any length: windows that overlap and fade.

Each window of the song learns the spatial covariance R of the sources anew. Two neighbouring
windows share an eighth of their length, over which one fades into the other::

    window 1  |=================...|
    window 2                    |...==============...|
    window 3                                      |...=======|   the last ends with the song

The windows do not depend on the blocks of the stream, so a stream and a whole song give the same
bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import SpectralConfig
from viso.dsp.wiener import expectation_maximisation
from viso.errors import ConfigError
from viso.separator.channels import channel_groups

__all__ = [
    "LONGEST_S",
    "SHORTEST_S",
    "WINDOW_S",
    "WienerFilter",
    "WienerStream",
    "wiener_filter",
]

Complexes = npt.NDArray[np.complex64]

WINDOW_S = 10.0
"""Default length of a window in seconds."""

SHORTEST_S, LONGEST_S = 0.5, 600.0

# Bins filtered at a time, so that a whole window never exists in double precision.
_BAND = 256


@dataclass(frozen=True)
class WienerFilter:
    """Settings of the Wiener filter: iterations, and length of a window in seconds.

    Raises
    ------
    ConfigError
        If there is no iteration, or the window is shorter than 0.5 s or longer than 10 minutes.
    """

    iterations: int = 1
    window_s: float = WINDOW_S

    def __str__(self) -> str:
        """Return the text for a tag."""
        times = "iteration" if self.iterations == 1 else "iterations"
        return f"{self.iterations} {times}, windows of {self.window_s:g} s"

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"Wiener filter of {self.iterations} iterations: need 1 or more")
        if not SHORTEST_S <= self.window_s <= LONGEST_S:
            wanted = f"need {SHORTEST_S:g} to {LONGEST_S:g}"
            raise ConfigError(f"Wiener filter over windows of {self.window_s} s: {wanted}")


def wiener_filter(iterations: int, *, window_s: float = WINDOW_S) -> WienerFilter | None:
    """Return the settings for a number of iterations; None for 0.

    Raises
    ------
    ConfigError
        See `WienerFilter`.
    """
    if iterations == 0:
        return None
    return WienerFilter(iterations, window_s)


class WienerStream:
    """Frames of mixture and vocals in, filtered frames of the vocals out, in blocks of any length.

    The filter also needs the instrumental, which is the mixture minus the vocals. It filters
    left-right pairs of channels together, and other channels alone.

    Parameters
    ----------
    settings : WienerFilter
    config : SpectralConfig
    n_channels : int
    """

    def __init__(self, settings: WienerFilter, *, config: SpectralConfig, n_channels: int) -> None:
        seconds = config.hop / config.rate_hz
        self._length = max(8, math.ceil(settings.window_s / seconds))
        self._overlap = self._length // 8
        self._iterations = settings.iterations
        # A channel without a partner appears twice; partners are neighbours.
        groups = channel_groups(n_channels, per_model=2)
        self._groups = [slice(group[0], group[-1] + 1) for group in groups]
        # In memory order (channels, frames, bins), as in the estimators.
        shape = (2, n_channels, self._length, config.n_bins)
        self._waiting = np.empty(shape, np.complex64)
        self._n_waiting = 0
        fade = (np.arange(self._overlap) + 0.5) / self._overlap
        self._fade = fade.astype(np.float32)[:, None]
        self._tail: Complexes | None = None

    def push(self, mixture: Complexes, vocals: Complexes) -> Complexes:
        """Add frames of both [shape=(channels, bins, n)] and return the final ones."""
        parts = [vocals[:, :, :0]]
        first = 0
        while first < vocals.shape[2]:
            step = min(self._length - self._n_waiting, vocals.shape[2] - first)
            part = slice(first, first + step)
            place = slice(self._n_waiting, self._n_waiting + step)
            for waiting, frames in zip(self._waiting, (mixture, vocals), strict=True):
                waiting[:, place] = frames[:, :, part].transpose(0, 2, 1)
            self._n_waiting += step
            first += step
            if self._n_waiting == self._length:
                parts.append(self._window())
        return np.concatenate(parts, axis=2)

    def finish(self) -> Complexes:
        """Return the frames up to the last one that was pushed."""
        if self._tail is None or self._n_waiting > self._overlap:
            return self._window(is_last=True)
        return self._tail.transpose(0, 2, 1)

    def _window(self, *, is_last: bool = False) -> Complexes:
        """Filter the waiting frames and return them, without those shared with the next window."""
        n = self._n_waiting
        certain = n if is_last else n - self._overlap
        frames = self._filtered(*self._waiting[:, :, :n])
        if self._tail is not None:
            start = frames[:, : self._overlap]
            start *= self._fade
            start += self._tail * (1 - self._fade)
        self._tail = frames[:, certain:].copy()
        self._waiting[:, :, : n - certain] = self._waiting[:, :, certain:n].copy()
        self._n_waiting = n - certain
        return frames[:, :certain].transpose(0, 2, 1)

    def _filtered(self, mixture: Complexes, vocals: Complexes) -> Complexes:
        """Filter a whole window [shape=(channels, frames, bins)], band by band."""
        filtered = np.empty_like(vocals)
        for group in self._groups:
            # Relative to the loudest bin, so that the level of the song does not matter.
            loudest = float(np.abs(mixture[group]).max(initial=0.0)) or 1.0
            for first in range(0, vocals.shape[2], _BAND):
                place = (group, slice(None), slice(first, first + _BAND))
                x, v = mixture[place].swapaxes(1, 2), vocals[place].swapaxes(1, 2)
                best = expectation_maximisation(
                    np.stack([v, x - v]),
                    x,
                    iterations=self._iterations,
                    loudest=loudest,
                    n_wanted=1,
                )
                filtered[place] = best[0].swapaxes(1, 2)
        return filtered

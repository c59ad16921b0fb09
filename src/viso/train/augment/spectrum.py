"""Filters that multiply the spectrum of a whole chunk."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apply_gain", "fast_size", "frequencies", "low_pass"]


def fast_size(n: int) -> int:
    """Return the smallest even number, at least `n`, without prime factors above 5."""
    size = max(2, n + n % 2)
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2


def frequencies(n: int, *, rate_hz: int, device: torch.device) -> Tensor:
    """Return the frequencies of the gains that `apply_gain` needs for `n` samples.

    A zero-phase filter rings before and after a sound. 50 ms of silence after the chunk hold both;
    otherwise its end would be audible at its start.

    Returns
    -------
    Tensor [shape=(bins,)]
        In hertz.
    """
    size = fast_size(n + rate_hz // 20)
    hz: Tensor = torch.arange(size // 2 + 1, device=device) * (rate_hz / size)
    return hz


def apply_gain(audio: Tensor, gain: Tensor) -> Tensor:
    """Filter without shifting phases.

    Parameters
    ----------
    audio : Tensor [shape=(k, channels, n)]
    gain : Tensor [shape=(k, bins)]
        Gains at `frequencies(n)`.
    """
    n, size = audio.shape[-1], 2 * (gain.shape[-1] - 1)
    spectrum = torch.fft.rfft(audio, n=size)
    spectrum *= gain[:, None]
    filtered: Tensor = torch.fft.irfft(spectrum, n=size)[..., :n]
    return filtered


def low_pass(
    audio: Tensor, cutoff_hz: Tensor, *, rate_hz: int, transition_hz: float = 400.0
) -> Tensor:
    """Remove everything above a frequency.

    Parameters
    ----------
    audio : Tensor [shape=(k, channels, n)]
    cutoff_hz : Tensor [shape=(k,)]
        Where the stopband begins.
    rate_hz : int
    transition_hz : float
        Width of the band below the cutoff in which the gain falls from 1 to 0, as half a cosine.
    """
    hz = frequencies(audio.shape[-1], rate_hz=rate_hz, device=audio.device)
    depth = ((hz - cutoff_hz[:, None]) / transition_hz + 1).clamp(0.0, 1.0)
    return apply_gain(audio, 0.5 + 0.5 * torch.cos(torch.pi * depth))

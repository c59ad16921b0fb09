"""Augmentation, all on tensors, on whatever device they lie.

The four of Uhlich et al. 2017 (random chunk, swapped channels, gain, sources of different
songs) are drawn afresh for every chunk and every source; dry voices also get a place in the
stereo image and a room. Every function takes a `torch.Generator`, so a run can be resumed.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["match_level", "pan", "reverb", "scale", "swap_channels", "uniform"]


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return `n` numbers drawn evenly from low to high [shape=(n,)]."""
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def swap_channels(audio: Tensor, generator: torch.Generator) -> Tensor:
    """Swap left and right of every second chunk, at random [shape=(batch, 2, n)]."""
    chosen = uniform(len(audio), 0, 1, generator) < 0.5
    return torch.where(chosen[:, None, None], audio.flip(1), audio)


def scale(audio: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Multiply every chunk by a factor drawn from low to high [shape=(batch, channels, n)]."""
    return audio * uniform(len(audio), low, high, generator)[:, None, None]


def match_level(vocals: Tensor, instrumental: Tensor, chosen: Tensor, level_db: Tensor) -> Tensor:
    """Bring the chosen vocals to a level against their instrumental.

    Parameters
    ----------
    vocals, instrumental : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    level_db : Tensor [shape=(batch,)]
        RMS of the vocals over RMS of the instrumental, in decibels.

    Returns
    -------
    Tensor [shape=(batch, channels, n)]
        Vocals; those not chosen, and those beside silence, as they were.
    """
    rms_v = vocals.square().mean(dim=(1, 2)).sqrt()
    rms_i = instrumental.square().mean(dim=(1, 2)).sqrt()
    factor = 10 ** (level_db / 20) * rms_i / (rms_v + 1e-9)
    usable = chosen & (rms_v > 1e-5) & (rms_i > 1e-5)
    return vocals * torch.where(usable, factor, torch.ones_like(factor))[:, None, None]


def pan(audio: Tensor, chosen: Tensor, most_db: float, generator: torch.Generator) -> Tensor:
    """Move the chosen chunks off the centre by at most `most_db` between the channels."""
    offset = uniform(len(audio), -most_db / 2, most_db / 2, generator) * chosen
    gains = 10 ** (torch.stack([offset, -offset], dim=1) / 20)
    return audio * gains[:, :, None]


def reverb(audio: Tensor, chosen: Tensor, *, rate_hz: int, generator: torch.Generator) -> Tensor:
    """Put the chosen chunks into rooms: decaying stereo noise, drawn for each.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    rate_hz : int
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(batch, 2, n)]
        Dry sound plus a tail of 0.2 to 1.5 s (60 dB decay), 6 to 26 dB below it.
    """
    picked = torch.nonzero(chosen)[:, 0]
    if not len(picked):
        return audio
    n = audio.shape[2]
    length = min(rate_hz, n)
    t = torch.arange(length, device=audio.device) / rate_hz
    decay_s = uniform(len(picked), 0.2, 1.5, generator)
    delay_s = uniform(len(picked), 0.0, 0.04, generator)
    wet_db = uniform(len(picked), -26.0, -6.0, generator)
    envelope = torch.exp(-6.9 * t / decay_s[:, None]) * (t >= delay_s[:, None])
    noise = torch.randn((len(picked), 2, length), generator=generator, device=generator.device)
    tail = noise * envelope[:, None]
    tail = tail / tail.square().sum(dim=2, keepdim=True).sqrt().clamp_min(1e-9)
    size = 1 << (n + length - 1).bit_length()
    wet = torch.fft.irfft(
        torch.fft.rfft(audio[picked], n=size) * torch.fft.rfft(tail, n=size), n=size
    )[..., :n]
    result = audio.clone()
    result[picked] += wet * (10 ** (wet_db / 20))[:, None, None]
    return result

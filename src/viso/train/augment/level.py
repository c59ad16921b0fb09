"""Levels: gain, polarity, balance, silence, compression."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from viso.train.augment.draw import on_chosen, uniform

__all__ = ["compress", "invert", "match_level", "quieten", "scale", "silence"]


def scale(
    audio: Tensor,
    chosen: Tensor,
    *,
    factor: tuple[float, float] = (0.25, 1.25),
    generator: torch.Generator,
) -> Tensor:
    """Multiply each of the chosen chunks by a factor (Uhlich et al. 2017).

    Parameters
    ----------
    audio : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    factor : (float, float)
        Range of the factor, not in decibels.
    generator : torch.Generator
    """
    drawn = uniform(len(audio), *factor, generator)
    return audio * torch.where(chosen, drawn, 1.0)[:, None, None]


def quieten(
    audio: Tensor,
    chosen: Tensor,
    *,
    gain_db: tuple[float, float] = (-40.0, -10.0),
    generator: torch.Generator,
) -> Tensor:
    """Make the chosen chunks quiet: the network must not take a distant voice for silence.

    Parameters
    ----------
    audio : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    gain_db : (float, float)
    generator : torch.Generator
    """
    factor = 10 ** (uniform(len(audio), *gain_db, generator) / 20)
    return audio * torch.where(chosen, factor, 1.0)[:, None, None]


def silence(audio: Tensor, chosen: Tensor) -> Tensor:
    """Replace the chosen chunks by zeros, as if the source were absent.

    Parameters
    ----------
    audio : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    """
    return audio.masked_fill(chosen[:, None, None], 0.0)


def invert(audio: Tensor, chosen: Tensor) -> Tensor:
    """Invert the polarity of the chosen chunks.

    Parameters
    ----------
    audio : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    """
    return torch.where(chosen[:, None, None], -audio, audio)


def match_level(vocals: Tensor, instrumental: Tensor, chosen: Tensor, level_db: Tensor) -> Tensor:
    """Scale the chosen vocals to a level against their instrumental.

    Parameters
    ----------
    vocals, instrumental : Tensor [shape=(batch, channels, n)]
    chosen : bool Tensor [shape=(batch,)]
    level_db : Tensor [shape=(batch,)]
        RMS of the vocals over RMS of the instrumental, in decibels.

    Returns
    -------
    Tensor [shape=(batch, channels, n)]
        The vocals. Chunks that are not chosen do not change, nor do chunks where one source is
        silent.
    """
    rms_v = vocals.square().mean(dim=(1, 2)).sqrt()
    rms_i = instrumental.square().mean(dim=(1, 2)).sqrt()
    factor = 10 ** (level_db / 20) * rms_i / (rms_v + 1e-9)
    usable = chosen & (rms_v > 1e-5) & (rms_i > 1e-5)
    return vocals * torch.where(usable, factor, 1.0)[:, None, None]


@on_chosen
def compress(
    audio: Tensor,
    *,
    rate_hz: int,
    threshold_db: tuple[float, float] = (-12.0, 3.0),
    ratio: tuple[float, float] = (2.0, 8.0),
    attack_s: tuple[float, float] = (0.002, 0.02),
    release_s: tuple[float, float] = (0.05, 0.3),
    generator: torch.Generator,
) -> Tensor:
    """Compress the chosen chunks: above a threshold the level grows `ratio` times slower.

    The compressor is feed-forward, with one gain for both channels. The level and the gain are
    computed every 1.5 ms, and the gain is interpolated to samples.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    threshold_db : (float, float)
        Relative to the RMS of the chunk, so that quiet chunks are compressed like loud ones.
    ratio : (float, float)
        Decibels in per decibel out, above the threshold.
    attack_s, release_s : (float, float)
        Time constants of the gain when it falls and when it rises again.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(k, 2, n)]
        The chunks, each with its old RMS.

    References
    ----------
    Giannoulis, Massberg and Reiss, "Digital dynamic range compressor design", J. Audio Eng.
    Soc. 60(6), 2012: the log-domain gain computer and the smooth, decoupled peak detector.
    """
    k, n = len(audio), audio.shape[2]
    threshold = uniform(k, *threshold_db, generator)[:, None]
    steepness = 1 - 1 / uniform(k, *ratio, generator)[:, None]
    hop = max(1, round(rate_hz / 700))
    attack = uniform(k, *attack_s, generator) * rate_hz / hop
    release = uniform(k, *release_s, generator) * rate_hz / hop

    energy = audio.square().mean(dim=1, keepdim=True)
    blocks = functional.avg_pool1d(energy, hop, hop, ceil_mode=True)[:, 0]
    rms = energy.mean(dim=(1, 2)).sqrt()
    level_db = 10 * torch.log10(blocks / rms.square().clamp_min(1e-30)[:, None] + 1e-10)
    reduction_db = steepness * (level_db - threshold).clamp_min(0.0)
    reduction_db = _attack(_release(reduction_db, release), attack)
    gain = functional.interpolate(
        10 ** (-reduction_db / 20)[:, None], size=blocks.shape[1] * hop, mode="linear"
    )[..., :n]
    y = audio * gain
    make_up = rms / y.square().mean(dim=(1, 2)).sqrt().clamp_min(1e-30)
    return y * make_up[:, None, None]


def _release(x: Tensor, steps: Tensor) -> Tensor:
    """Limit the fall of values to an exponential decay.

    For x >= 0, y[t] = max(x[t], a y[t-1]) is the running maximum of x[t] / a^t, times a^t: this
    needs no loop over time. In logarithms a^t cannot underflow.

    Parameters
    ----------
    x : Tensor [shape=(k, t)]
    steps : Tensor [shape=(k,)]
        Time constants.
    """
    fall = torch.arange(x.shape[1], device=x.device) / steps[:, None]
    return torch.exp(torch.cummax(x.clamp_min(1e-6).log() + fall, dim=1).values - fall)


def _attack(x: Tensor, steps: Tensor) -> Tensor:
    """Smooth each row [shape=(k, t)] with its own one-pole low-pass.

    The recursion is computed as a convolution with its exponential, cut off after 0.18 s.
    """
    length = max(1, min(128, x.shape[1]))
    kernel = torch.exp(-torch.arange(length, device=x.device) / steps[:, None])
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    padded = functional.pad(x, (length - 1, 0))
    return functional.conv1d(padded[None], kernel.flip(1)[:, None], groups=len(x))[0]

"""Rooms and echoes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from viso.train.augment.draw import on_chosen, uniform
from viso.train.augment.spectrum import fast_size

__all__ = ["delay", "reverb"]

# exp(-6.91) is -60 dB.
_DECAY = 6.91
_CROSSOVER_HZ = 4000.0
_TAPS = 4


@on_chosen
def reverb(
    audio: Tensor,
    *,
    rate_hz: int,
    decay_s: tuple[float, float] = (0.2, 1.5),
    pre_delay_s: tuple[float, float] = (0.0, 0.04),
    wet_db: tuple[float, float] = (-26.0, -6.0),
    damping: tuple[float, float] = (0.3, 0.8),
    generator: torch.Generator,
) -> Tensor:
    """Put the chosen chunks into rooms; a room is decaying stereo noise, drawn for each chunk.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    decay_s : (float, float)
        Time in which the tail loses 60 dB. A tail is cut off after one second.
    pre_delay_s : (float, float)
        Time from the direct sound to the tail.
    wet_db : (float, float)
        Energy of the tail's impulse response against that of the direct sound.
    damping : (float, float)
        Decay time above about 4 kHz over that below: air and curtains absorb high frequencies
        first.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(k, 2, n)]
        The original sound plus the tail.

    References
    ----------
    Moorer, "About this reverberation business", Computer Music Journal 3(2), 1979: noise that
    decays exponentially sounds like a good concert hall.
    """
    k, n = len(audio), audio.shape[2]
    length = min(rate_hz, n)
    t = torch.arange(length, device=audio.device) / rate_hz
    decay = uniform(k, *decay_s, generator)[:, None, None]
    start = uniform(k, *pre_delay_s, generator)[:, None, None]
    level = 10 ** (uniform(k, *wet_db, generator) / 20)
    high_decay = decay * uniform(k, *damping, generator)[:, None, None]
    noise = torch.randn((k, 2, length), generator=generator, device=generator.device)
    low = _smooth(noise, rate_hz)
    tail = low * torch.exp(-_DECAY * t / decay) + (noise - low) * torch.exp(
        -_DECAY * t / high_decay
    )
    tail = tail * (t >= start)
    tail = tail * (
        level[:, None, None] / tail.square().sum(dim=2, keepdim=True).sqrt().clamp_min(1e-9)
    )
    # As long as sound and tail together, so that nothing wraps round to the start.
    size = fast_size(n + length - 1)
    spectrum = torch.fft.rfft(audio, n=size)
    spectrum *= torch.fft.rfft(tail, n=size)
    wet: Tensor = torch.fft.irfft(spectrum, n=size)[..., :n]
    return audio + wet


def _smooth(noise: Tensor, rate_hz: int) -> Tensor:
    """Keep frequencies below about 4 kHz, with a running mean applied twice [shape=(k, 2, n)]."""
    # Two means over w samples lose 6 dB at 0.44 / w of the rate.
    width = 2 * round(0.22 * rate_hz / _CROSSOVER_HZ) + 1
    for _ in range(2):
        noise = functional.avg_pool1d(noise, width, stride=1, padding=width // 2)
    return noise


@on_chosen
def delay(
    audio: Tensor,
    *,
    rate_hz: int,
    time_s: tuple[float, float] = (0.08, 0.5),
    level_db: tuple[float, float] = (-22.0, -8.0),
    feedback: tuple[float, float] = (0.0, 0.5),
    generator: torch.Generator,
) -> Tensor:
    """Add echoes to the chosen chunks.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    time_s : (float, float)
        Time from one echo to the next.
    level_db : (float, float)
        Level of the first echo against the sound itself.
    feedback : (float, float)
        Amplitude of each further echo over the one before. There are four echoes.
    generator : torch.Generator
    """
    k, n = len(audio), audio.shape[2]
    lag = (uniform(k, *time_s, generator) * rate_hz).round().long()[:, None]
    gain = 10 ** (uniform(k, *level_db, generator) / 20)
    loss = uniform(k, *feedback, generator)
    # Sample 0 is a zero: echoes of the time before the chunk read it.
    source = functional.pad(audio, (1, 0))
    place = torch.arange(1, n + 1, device=audio.device).expand(k, -1)
    echoes = torch.zeros_like(source[..., 1:])
    for _ in range(_TAPS):
        place = (place - lag).clamp_min(0)
        echoes.addcmul_(source.gather(2, place[:, None].expand(-1, 2, -1)), gain[:, None, None])
        gain = gain * loss
    return audio + echoes

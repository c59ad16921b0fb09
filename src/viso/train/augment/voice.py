"""Makes more voices from one: other pitches, doubles, harmonies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from viso.train.augment.draw import on_chosen, picked, uniform
from viso.train.augment.resample import read
from viso.train.augment.spectrum import low_pass

__all__ = ["CONSONANT", "double", "harmonise", "shift_pitch"]

# Semitones: octaves, fourths, fifths, thirds.
CONSONANT = (-12.0, -5.0, -4.0, -3.0, 3.0, 4.0, 5.0, 7.0, 12.0)

_FRAME_S = 0.02
_SHORTEST_S, _LONGEST_S = 0.004, 0.016


@on_chosen
def shift_pitch(
    audio: Tensor,
    *,
    rate_hz: int,
    semitones: tuple[float, float] = (-3.0, 3.0),
    generator: torch.Generator,
) -> Tensor:
    """Change the pitch of the chosen chunks and keep their tempo; formants move with the pitch.

    This is for voices and single instruments: splices are one period apart, and chords have no
    common period. For whole music use `change_speed`.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    semitones : (float, float)
    generator : torch.Generator
    """
    ratio = 2 ** (uniform(len(audio), *semitones, generator) / 12)
    return _shifted(audio, ratio, rate_hz)


def _shifted(audio: Tensor, ratio: Tensor, rate_hz: int, late: Tensor | None = None) -> Tensor:
    """Multiply the pitch of chunks [shape=(k, channels, n)] by ratios [shape=(k,)].

    The output is `late` samples later [shape=(k,)] than the input.

    The method is a delay line with two crossfading taps. In each frame of 20 ms the tape runs at
    `ratio` from a position near the frame's own. The two taps of neighbouring frames read the same
    sound until the tape is half a period ahead or behind. Then they jump by one period, where the
    sound is similar (the idea of PSOLA: Moulines and Charpentier, Speech Communication 9, 1990).
    """
    n = audio.shape[2]
    step = max(1, rate_hz // 7000)
    frame = step * max(1, round(_FRAME_S * rate_hz / step))
    # If the pitch rises, frequencies above this would fold back.
    top_hz = rate_hz / 2 / ratio.clamp_min(1.0)
    audio = low_pass(audio, top_hz, rate_hz=rate_hz)
    lead = _leads(_periods(audio.mean(dim=1), frame, step, rate_hz), (ratio - 1.0) * frame)
    if late is not None:
        lead = lead - late[:, None]

    clock = torch.arange(lead.shape[1], device=audio.device) * frame
    centre = (clock + lead)[:, :, None]
    inside = torch.arange(frame, device=audio.device, dtype=torch.float64)
    speed = ratio.double()[:, None, None]
    here = (centre[:, :-1] + speed * inside).flatten(1)[:, :n]
    there = (centre[:, 1:] + speed * (inside - frame)).flatten(1)[:, :n]
    # Crossfade over the middle half of a frame: long enough not to click, too short to flange.
    turn = (2 * inside / frame - 0.5).clamp(0.0, 1.0)
    turn = (0.5 - 0.5 * torch.cos(torch.pi * turn)).float().repeat(lead.shape[1] - 1)[:n]
    return torch.lerp(read(audio, here), read(audio, there), turn)


def _periods(mono: Tensor, frame: int, step: int, rate_hz: int) -> Tensor:
    """Find for every frame the lag of 4 to 16 ms at which the sound is most similar to itself.

    For a voice above 83 Hz such a lag is one period or a few periods.

    Parameters
    ----------
    mono : Tensor [shape=(k, n)]
    frame, step : int
        Distance of the frames, and of the samples that are compared.
    rate_hz : int

    Returns
    -------
    float64 Tensor [shape=(k, frames)]
        In samples. Frame i is centred near sample `i * frame`.
    """
    coarse = functional.avg_pool1d(mono[:, None], step, step, ceil_mode=True)[:, 0]
    hop = frame // step
    window = 3 * hop
    n_frames = -(-mono.shape[1] // frame) + 1
    padded = functional.pad(coarse, (window // 2, n_frames * hop + window - coarse.shape[1]))
    frames = padded.unfold(1, window, hop)[:, :n_frames]
    power = torch.fft.rfft(frames, n=2 * window).abs().square()
    likeness = torch.fft.irfft(power, n=2 * window)[..., :window]
    # Long lags overlap less; without this division they would always lose.
    likeness = likeness / torch.arange(window, 0, -1, device=mono.device)
    low = max(1, int(_SHORTEST_S * rate_hz / step))
    high = min(window - 2, int(_LONGEST_S * rate_hz / step) + 1)
    best = likeness[..., low:high].argmax(dim=2, keepdim=True) + low
    # The peak is between the lags, on the parabola through three of them.
    a, b, c = (likeness.gather(2, best + i)[..., 0] for i in (-1, 0, 1))
    bend = a - 2 * b + c
    offset = torch.where(bend < 0, 0.5 * (a - c) / bend, 0.0).clamp(-0.5, 0.5)
    period: Tensor = (best[..., 0] + offset).double() * step
    return period


def _leads(period: Tensor, gained: Tensor) -> Tensor:
    """Return how far the tape is ahead of the clock at each frame.

    Parameters
    ----------
    period : float64 Tensor [shape=(k, frames)]
        In samples.
    gained : Tensor [shape=(k,)]
        Samples that the tape gains in a frame.

    Returns
    -------
    float64 Tensor [shape=(k, frames)]
        In samples: the gained samples minus whole periods, at most half a period.
    """
    lead = torch.zeros_like(period[:, 0])
    leads = []
    for one in period.unbind(1):
        lead = lead + gained
        lead = lead - one * (lead / one).round()
        leads.append(lead)
    return torch.stack(leads, dim=1)


def _placed(mono: Tensor, gain: Tensor, side_db: Tensor) -> Tensor:
    """Pan mono chunks [shape=(k, 1, n)] so that they are `side_db` louder on the left."""
    both = 10 ** (torch.stack([side_db, -side_db], dim=1) / 40)
    return mono * (gain[:, None] * both)[:, :, None]


@on_chosen
def double(
    audio: Tensor,
    *,
    rate_hz: int,
    delay_s: tuple[float, float] = (0.01, 0.03),
    detune_cents: tuple[float, float] = (3.0, 12.0),
    level_db: tuple[float, float] = (-10.0, 0.0),
    side_db: tuple[float, float] = (0.0, 12.0),
    generator: torch.Generator,
) -> Tensor:
    """Double the chosen voices: add a second take that is slightly out of time and out of tune.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    delay_s : (float, float)
        Mean delay of the second take; the delay varies by up to 4 ms around it, 0.3 to 1.2 times
        a second.
    detune_cents : (float, float)
        How far its pitch moves up and down because of that variation.
    level_db : (float, float)
        Level of the second take against the first.
    side_db : (float, float)
        Level difference of its channels; it is louder on the side where the first take is weaker,
        or on a random side if the first take is centred.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(k, 2, n)]
        The first take, unchanged, plus the second.
    """
    k, n = len(audio), audio.shape[2]
    late = uniform(k, *delay_s, generator)[:, None]
    turns_hz = uniform(k, 0.3, 1.2, generator)[:, None]
    stray = 2 ** (uniform(k, *detune_cents, generator)[:, None] / 1200) - 1
    gain = 10 ** (uniform(k, *level_db, generator) / 20)
    aside = uniform(k, *side_db, generator)
    angle = 2 * torch.pi * uniform(k, 0.0, 1.0, generator)[:, None]
    coin = uniform(k, -1.0, 1.0, generator)
    # The change of pitch is the slope of the delay: swing times angular frequency.
    sample = torch.arange(n, device=audio.device, dtype=torch.float64)
    angular = 2 * torch.pi * turns_hz / rate_hz
    swing = torch.sin(angular * sample.float() + angle).mul_(stray / angular)
    take = read(audio.mean(dim=1, keepdim=True), sample - swing.add_(late * rate_hz))
    left, right = audio.square().mean(dim=2).unbind(1)
    centred = (left - right).abs() <= 1e-3 * (left + right)
    side = torch.where(torch.where(centred, coin, right - left) < 0, -aside, aside)
    return audio + _placed(take, gain, side)


def harmonise(
    audio: Tensor,
    chosen: Tensor,
    *,
    rate_hz: int,
    intervals: tuple[float, ...] = CONSONANT,
    second: float = 0.5,
    level_db: tuple[float, float] = (-18.0, -6.0),
    delay_s: tuple[float, float] = (0.005, 0.03),
    most_side_db: float = 12.0,
    generator: torch.Generator,
) -> Tensor:
    """Add one or two harmonies to the chosen voices: softer, panned copies at other pitches.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    rate_hz : int
    intervals : tuple of float
        In semitones; one is drawn for each copy.
    second : float
        Probability of a second copy.
    level_db : (float, float)
        Level of a copy against the voice.
    delay_s : (float, float)
        Delay of a copy.
    most_side_db : float
        Range, from minus to plus this, of the level difference of its channels.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(batch, 2, n)]
        The voice, unchanged, plus the copies.
    """
    result = audio
    twice = uniform(len(audio), 0.0, 1.0, generator) < second
    table = torch.tensor(intervals, device=audio.device)
    for singers in (chosen, chosen & twice):
        rows = picked(singers)
        if not len(rows):
            break
        k = len(rows)
        which = (uniform(k, 0.0, 1.0, generator) * len(table)).long()
        gain = 10 ** (uniform(k, *level_db, generator) / 20)
        late = (uniform(k, *delay_s, generator) * rate_hz).double()
        side = uniform(k, -most_side_db, most_side_db, generator)
        mono = audio[rows].mean(dim=1, keepdim=True)
        copy = _shifted(mono, 2 ** (table[which] / 12), rate_hz, late)
        result = result.index_add(0, rows, _placed(copy, gain, side))
    return result

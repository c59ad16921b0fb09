"""Tone colour: an equaliser, an overdriven amplifier, and the limited band of lossy codecs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viso.train.augment.draw import on_chosen, picked, uniform
from viso.train.augment.spectrum import apply_gain, frequencies, low_pass

__all__ = ["cut_band", "drive", "tilt"]

_PIVOT_HZ, _LOWEST_HZ, _HIGHEST_HZ = 1000.0, 60.0, 16_000.0


@on_chosen
def tilt(
    audio: Tensor,
    *,
    rate_hz: int,
    slope_db: tuple[float, float] = (-1.5, 1.5),
    n_bands: int = 3,
    band_db: tuple[float, float] = (-6.0, 6.0),
    generator: torch.Generator,
) -> Tensor:
    """Equalise the chosen chunks with a tilt around 1 kHz and a few bells.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    rate_hz : int
    slope_db : (float, float)
        Decibels per octave from 60 Hz to 16 kHz; flat outside.
    n_bands : int
        Number of bells. Their centres are drawn uniformly in octaves from 100 Hz to 10 kHz, their
        half widths (one standard deviation of a Gaussian) from a third of an octave to one octave.
    band_db : (float, float)
        Gain at the centre of a bell.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(k, 2, n)]
        The chunks, each with its old RMS: this changes the colour, not the balance.
    """
    k = len(audio)
    hz = frequencies(audio.shape[2], rate_hz=rate_hz, device=audio.device)
    octave = torch.log2(hz.clamp(_LOWEST_HZ, _HIGHEST_HZ) / _PIVOT_HZ)
    gain_db = uniform(k, *slope_db, generator)[:, None] * octave
    for _ in range(n_bands):
        # Octaves from the pivot: -3.32 is 100 Hz, 3.32 is 10 kHz.
        centre = uniform(k, -3.32, 3.32, generator)[:, None]
        width = uniform(k, 1 / 3, 1.0, generator)[:, None]
        height_db = uniform(k, *band_db, generator)[:, None]
        gain_db = gain_db + height_db * torch.exp(-0.5 * ((octave - centre) / width).square())
    y = apply_gain(audio, 10 ** (gain_db / 20))
    before, after = (s.square().mean(dim=(1, 2), keepdim=True).sqrt() for s in (audio, y))
    return y * (before / after.clamp_min(1e-30))


@on_chosen
def drive(
    audio: Tensor,
    *,
    drive_db: tuple[float, float] = (0.0, 24.0),
    generator: torch.Generator,
) -> Tensor:
    """Overdrive the chosen chunks, as an amplifier or a distortion pedal does.

    Parameters
    ----------
    audio : Tensor [shape=(k, 2, n)]
    drive_db : (float, float)
        Level of the sound's RMS at the input of ``tanh``: 0 dB distorts the peaks, 24 dB gives
        almost a square wave. There is no oversampling: harmonics above half the rate fold back,
        as in cheap pedals.
    generator : torch.Generator

    Returns
    -------
    Tensor [shape=(k, 2, n)]
        The chunks, each with its old RMS. The share of the distorted sound is drawn from a half
        to one; the rest is clean.
    """
    k = len(audio)
    gain = 10 ** (uniform(k, *drive_db, generator) / 20)[:, None, None]
    wet = uniform(k, 0.5, 1.0, generator)[:, None, None]
    before = audio.square().mean(dim=(1, 2), keepdim=True).sqrt()
    bent = torch.tanh(audio * (gain / before.clamp_min(1e-30)))
    bent = bent * (before / bent.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-30))
    y = wet * bent + (1 - wet) * audio
    after = y.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return y * (before / after.clamp_min(1e-30))


def cut_band(
    sources: Sequence[Tensor],
    chosen: Tensor,
    *,
    rate_hz: int,
    cutoff_hz: tuple[float, float] = (11_000.0, 20_000.0),
    generator: torch.Generator,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Remove the highest frequencies of the chosen chunks, as lossy codecs do.

    Parameters
    ----------
    sources : sequence of Tensor [shape=(batch, 2, n)]
        The sources of one batch of mixtures; all sources of a mixture lose the same band.
    chosen : bool Tensor [shape=(batch,)]
    rate_hz : int
    cutoff_hz : (float, float)
        Where the stopband begins; up to 400 Hz below it the sound does not change. An MP3 at
        64 kbit/s ends at 11 kHz, at 128 kbit/s at 16 kHz, at 320 kbit/s at 20 kHz.
    generator : torch.Generator

    Returns
    -------
    sources : tuple of Tensor [shape=(batch, 2, n)]
    cutoff_hz : Tensor [shape=(batch,)]
        Above it a chunk has nothing to learn from; half the rate if the chunk is not chosen.
    """
    cutoffs = torch.full((len(chosen),), rate_hz / 2, device=chosen.device)
    rows = picked(chosen)
    if not len(rows):
        return tuple(sources), cutoffs
    drawn = uniform(len(rows), *cutoff_hz, generator).clamp_max(rate_hz / 2)
    cut = [s.index_copy(0, rows, low_pass(s[rows], drawn, rate_hz=rate_hz)) for s in sources]
    return tuple(cut), cutoffs.index_copy(0, rows, drawn)

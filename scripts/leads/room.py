"""What a desk adds to a lead: room, echo, tone, chorus."""

from __future__ import annotations

import numpy as np
from scipy import signal

from bands.sound import RATE_HZ, Floats

__all__ = ["dressed", "echoed", "panned", "reverberated", "toned"]


def reverberated(audio: Floats, g: np.random.Generator, *, wet_db: float) -> Floats:
    """Add a room of 0.3 to 3.5 s to stereo; `wet_db` is the room's energy against the sound's."""
    seconds = float(np.exp(g.uniform(np.log(0.3), np.log(3.5))))
    n = round(seconds * RATE_HZ)
    at = np.arange(n) / RATE_HZ
    tail = g.standard_normal((2, n)) * 10 ** (-3 * at / seconds)
    # High notes die away first.
    dull = signal.sosfilt(
        signal.butter(1, float(g.uniform(1500, 7000)), fs=RATE_HZ, output="sos"), tail
    )
    early = round(float(g.uniform(0.0, 0.06)) * RATE_HZ)
    room = np.concatenate([np.zeros((2, early)), dull], axis=1).astype(np.float32)
    room /= np.sqrt(np.sum(room**2, axis=1, keepdims=True)) + 1e-9
    low_cut = signal.butter(1, float(g.uniform(80, 300)), "high", fs=RATE_HZ, output="sos")
    wet = signal.oaconvolve(audio, room, axes=1)[:, : audio.shape[1]]
    wet = signal.sosfilt(low_cut, wet)
    return (audio + 10 ** (wet_db / 20) * wet).astype(np.float32)


def echoed(audio: Floats, g: np.random.Generator, *, beat_s: float) -> Floats:
    """Repeat a sound in time, each time softer; to and fro between the sides or not."""
    step = round(beat_s * float(g.choice([0.5, 0.75, 1.0, 0.25])) * RATE_HZ)
    result, gain = audio.copy(), float(g.uniform(0.15, 0.5))
    feedback, crosses = float(g.uniform(0.2, 0.6)), g.random() < 0.5
    for k in range(1, 6):
        if k * step >= audio.shape[1] or gain < 0.02:
            break
        sound = audio[::-1] if crosses and k % 2 else audio
        sound = sound * np.array([[1.0], [0.5]], np.float32) if crosses else sound
        result[:, k * step :] += gain * sound[:, : -k * step]
        gain *= feedback
    return result


def toned(audio: Floats, g: np.random.Generator) -> Floats:
    """Turn the desk's knobs: a low cut, a peak or dip, a high shelf or cut."""
    cut = signal.butter(1, float(g.uniform(40, 250)), "high", fs=RATE_HZ, output="sos")
    audio = signal.sosfilt(cut, audio)
    hz = 300 * 2 ** float(g.uniform(0, 4))
    peak = signal.iirpeak(hz, float(g.uniform(0.5, 2)), fs=RATE_HZ)
    audio = audio + (10 ** (float(g.uniform(-6, 6)) / 20) - 1) * signal.lfilter(*peak, audio)
    high = signal.butter(1, float(g.uniform(2500, 8000)), "high", fs=RATE_HZ, output="sos")
    audio = audio + float(g.uniform(-0.6, 0.8)) * signal.sosfilt(high, audio)
    return np.asarray(audio, np.float32)


def panned(audio: Floats, where: float) -> Floats:
    """Move stereo to a side: -1 is left, 1 right."""
    return audio * np.array([[min(1, 1 - where)], [min(1, 1 + where)]], np.float32)


def dressed(audio: Floats, g: np.random.Generator, *, beat_s: float) -> Floats:
    """Draw tone, echo and room for a lead."""
    if g.random() < 0.7:
        audio = toned(audio, g)
    if g.random() < 0.25:
        audio = echoed(audio, g, beat_s=beat_s)
    if g.random() < 0.8:
        audio = reverberated(audio, g, wet_db=float(g.uniform(-24, -4)))
    return audio

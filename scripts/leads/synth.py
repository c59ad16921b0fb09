"""A synthesiser of lead instruments: wavetables of changing brightness, bodies, breath, plucking.

A model is drawn anew for every piece, so that no two pieces have the same sound.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import signal

from bands.sound import RATE_HZ, Floats
from leads.performance import CONTROL_HZ, Performance

__all__ = ["MODELS", "play_synthesised"]

_TABLE = 2048
_BRIGHTNESSES = 6
_LOWEST_HZ = 60.0
_LEVELS_AN_OCTAVE = 3
_TOP_HZ = 18_000.0
Array = npt.NDArray[np.float64]
Spectrum = Callable[[Array, float], Array]  # harmonic numbers, brightness 0 to 1 -> amplitudes


def _fine(curve: Array, n: int) -> Floats:
    """Return a control curve at the sampling rate."""
    at = np.arange(n) * (CONTROL_HZ / RATE_HZ)
    return np.interp(at, np.arange(len(curve)), curve).astype(np.float32)


def _tables(spectrum: Spectrum, g: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return one cycle by level of pitch and brightness, [shape=(levels, brightnesses, n + 1)].

    A level has no harmonics above `_TOP_HZ`. Phases are drawn once: close to a sawtooth's for
    small spreads.
    """
    n_levels = 1 + int(np.ceil(_LEVELS_AN_OCTAVE * np.log2(2500 / _LOWEST_HZ)))
    most = int(_TOP_HZ / _LOWEST_HZ)
    harmonics = np.arange(1, most + 1, dtype=float)
    phases = g.uniform(-1, 1, most) * float(g.choice([0.3, 1.0, np.pi]))
    tables = np.zeros((n_levels, _BRIGHTNESSES, _TABLE + 1), np.float32)
    for b in range(_BRIGHTNESSES):
        amplitudes = spectrum(harmonics, b / (_BRIGHTNESSES - 1))
        for level in range(n_levels):
            highest_hz = _LOWEST_HZ * 2 ** ((level + 1) / _LEVELS_AN_OCTAVE)
            k = max(1, min(most, int(_TOP_HZ / highest_hz), _TABLE // 2 - 1))
            half = np.zeros(_TABLE // 2 + 1, complex)
            half[1 : k + 1] = amplitudes[:k] * np.exp(1j * (phases[:k] - np.pi / 2))
            cycle = np.fft.irfft(half) * _TABLE
            tables[level, b, :_TABLE] = cycle
    tables[..., _TABLE] = tables[..., 0]
    scale = np.sqrt(np.mean(tables[4] ** 2, axis=-1)).max()
    return tables / np.float32(max(scale, 1e-9))


def _oscillate(tables: npt.NDArray[np.float32], hz: Floats, bright: Floats) -> Floats:
    """Read the tables at a changing pitch (Hz) and brightness (0 to 1), sample by sample."""
    phase = np.cumsum(hz.astype(np.float64) / RATE_HZ)
    phase -= np.floor(phase)
    place = (phase * _TABLE).astype(np.float32)
    index = np.minimum(place.astype(np.int32), _TABLE - 1)
    part = place - index
    level = np.log2(np.maximum(hz, 1) / _LOWEST_HZ) * _LEVELS_AN_OCTAVE
    level = np.clip(level, 0, tables.shape[0] - 1).astype(np.int32)
    tone = np.clip(bright, 0, 1) * (_BRIGHTNESSES - 1)
    lower = np.minimum(tone.astype(np.int32), _BRIGHTNESSES - 2)
    mix = (tone - lower).astype(np.float32)
    flat = tables.reshape(-1)
    at = (level * _BRIGHTNESSES + lower) * (_TABLE + 1) + index
    dark = flat[at] + part * (flat[at + 1] - flat[at])
    at += _TABLE + 1
    light = flat[at] + part * (flat[at + 1] - flat[at])
    result: Floats = dark + mix * (light - dark)
    return result


def _slope(g: np.random.Generator, dark: tuple[float, float], light: tuple[float, float],
           *, even: tuple[float, float] = (1, 1), ripple: float = 0.3) -> Spectrum:  # fmt: skip
    """Return harmonics that fall as a power of their number, slower when bright."""
    falls = float(g.uniform(*dark)), float(g.uniform(*light))
    share = float(g.uniform(*even))
    uneven = np.exp(ripple * g.standard_normal(400))
    corner = float(g.uniform(6, 30))

    def spectrum(k: Array, b: float) -> Array:
        fall = falls[0] + (falls[1] - falls[0]) * b
        amplitudes = k**-fall * uneven[: len(k)] / (1 + (k / (corner * (0.5 + b))) ** 4)
        return np.where(k % 2 == 0, share, 1.0) * amplitudes

    return spectrum


def _body(audio: Floats, g: np.random.Generator, *, peaks: int, gain_db: float,
          low_hz: float = 200, high_hz: float = 4500, roll_hz: float = 9000) -> Floats:  # fmt: skip
    """Send a sound through a resonating body: peaks and dips, nothing much above `roll_hz`."""
    taps = 2048
    hz = np.fft.rfftfreq(taps, 1 / RATE_HZ)
    curve = np.zeros(len(hz))
    for _ in range(peaks):
        centre = low_hz * (high_hz / low_hz) ** float(g.random())
        width = float(g.uniform(0.04, 0.25))
        height = float(g.normal(0.3, 0.7)) * gain_db
        curve += height * np.exp(-0.5 * (np.log(np.maximum(hz, 20) / centre) / width) ** 2)
    curve -= 10 * np.log10(1 + (hz / (roll_hz * float(g.uniform(0.6, 1.6)))) ** 6)
    curve -= 10 * np.log10(1 + (90 / np.maximum(hz, 5)) ** 4)
    response = np.fft.fftshift(np.fft.irfft(10 ** (curve / 20))) * np.hanning(taps)
    return signal.oaconvolve(audio, response.astype(np.float32), mode="same").astype(np.float32)


def _noise(n: int, g: np.random.Generator, low_hz: float, high_hz: float) -> Floats:
    sos = signal.butter(2, [low_hz, high_hz], "band", fs=RATE_HZ, output="sos")
    hiss = signal.sosfilt(sos, g.standard_normal(n).astype(np.float32))
    return (hiss / (hiss.std() + 1e-9)).astype(np.float32)


def _curves(performance: Performance, g: np.random.Generator) -> tuple[Floats, Floats]:
    """Return fundamental (Hz) and loudness of each sample, with a player's unsteadiness."""
    n = round(performance.length_s * RATE_HZ)
    jitter = float(g.uniform(0.005, 0.04)) * g.standard_normal(len(performance.pitch))
    hz = 440 * 2 ** ((performance.pitch + jitter - 69) / 12)
    shimmer = 1 + float(g.uniform(0, 0.06)) * g.standard_normal(len(hz))
    return _fine(hz, n), _fine(performance.loudness * shimmer, n)


def _blown(performance: Performance, g: np.random.Generator, spectrum: Spectrum, *,
           breath: tuple[float, float], peaks: int, gain_db: float, roll_hz: float = 9000,
           noise_hz: tuple[float, float] = (800, 6000), lift: float = 0.6) -> Floats:  # fmt: skip
    """Play a sustained tone: louder is brighter; breath or bow noise beside it."""
    hz, loud = _curves(performance, g)
    bright = 0.15 + lift * loud + float(g.uniform(-0.1, 0.3))
    tone = _oscillate(_tables(spectrum, g), hz, bright) * loud
    hiss = _noise(len(hz), g, *noise_hz) * np.sqrt(loud) * loud
    both = tone + float(g.uniform(*breath)) * hiss
    return _body(both.astype(np.float32), g, peaks=peaks, gain_db=gain_db, roll_hz=roll_hz)


def _ages(performance: Performance, n: int) -> tuple[Floats, Floats]:
    """Return seconds since the last pluck, and whether the string is damped."""
    age = np.full(n, 99.0, np.float32)
    seconds = (np.arange(n) / RATE_HZ).astype(np.float32)
    damped = np.ones(n, np.float32)
    for note in performance.notes:
        a, b = round(note.on_s * RATE_HZ), min(n, round(note.off_s * RATE_HZ))
        damped[a:b] = 0
        if not note.tied:
            age[a:] = seconds[: n - a]
    return age, damped


def _plucked(performance: Performance, g: np.random.Generator, spectrum: Spectrum, *,
             ring_s: tuple[float, float], dull_s: tuple[float, float], peaks: int = 10,
             gain_db: float = 6, buzz: float = 0.0) -> Floats:  # fmt: skip
    """Pluck a string: bright at first, then dull, until it has died away or is stopped."""
    hz, loud = _curves(performance, g)
    n = len(hz)
    age, damped = _ages(performance, n)
    bright = 0.05 + 0.95 * np.exp(-age / float(g.uniform(*dull_s)))
    ring = np.exp(-age * (hz / 300) ** 0.5 / float(g.uniform(*ring_s)))
    rise = np.clip(age / 0.002, 0, 1)
    stop = signal.lfilter([0.002], [1, -0.998], damped)
    level = ring * rise * np.clip(1 - stop, 0, 1) * np.maximum(loud, 0.3)
    tone = _oscillate(_tables(spectrum, g), hz, bright.astype(np.float32)) * level
    if buzz:  # the bridge of a sitar cuts the crests
        tone = np.tanh(tone * (1 + 6 * buzz)) * (1 + 0.5 * np.sign(tone) * buzz)
    tone = tone + 0.4 * np.exp(-age / 0.004) * _noise(n, g, 500, 5000) * (age < 0.05)
    return _body(tone.astype(np.float32), g, peaks=peaks, gain_db=gain_db)


def _synth(performance: Performance, g: np.random.Generator, spectrum: Spectrum) -> Floats:
    """Two or three oscillators a little apart, a filter that opens at each note."""
    hz, loud = _curves(performance, g)
    age, _ = _ages(performance, len(hz))
    opens = float(g.uniform(0, 0.8)) * np.exp(-age / float(g.uniform(0.05, 0.8)))
    swings = float(g.uniform(0, 0.2)) * np.sin(2 * np.pi * float(g.uniform(0.05, 1)) * age)
    bright = (float(g.uniform(0.05, 0.6)) + opens + swings).astype(np.float32)
    tables = _tables(spectrum, g)
    cents = g.normal(0, float(g.choice([0, 4, 9, 14])), int(g.integers(1, 4)))
    tone = sum(_oscillate(tables, hz * np.float32(2 ** (c / 1200)), bright) for c in cents)
    if g.random() < 0.2:
        tone = tone + 0.5 * _oscillate(tables, hz * np.float32(0.5), bright)
    return np.asarray(tone * loud, np.float32)


def _resonance(g: np.random.Generator) -> Spectrum:
    """Return a sawtooth through a filter whose resonance moves up the harmonics when bright."""
    lowest, highest = float(g.uniform(1, 2.5)), float(g.uniform(6, 16))
    width, height = float(g.uniform(0.15, 0.5)), float(g.uniform(3, 12))

    def spectrum(k: Array, b: float) -> Array:
        centre = lowest * (highest / lowest) ** b
        peak = np.exp(-0.5 * (np.log(k / centre) / width) ** 2)
        return (1 + height * peak) / k / (1 + (k / (2 * centre)) ** 3)

    return spectrum


def _swept(performance: Performance, g: np.random.Generator, *, decays: bool) -> Floats:
    """Play through a wah pedal, a plunger or a resonant filter that opens and shuts."""
    hz, loud = _curves(performance, g)
    age, damped = _ages(performance, len(hz))
    swing_hz, depth = float(np.exp(g.uniform(np.log(0.2), np.log(5)))), float(g.uniform(0, 0.35))
    opens = float(g.uniform(-0.4, 0.6)) * np.exp(-age / float(g.uniform(0.05, 0.5)))
    bright = float(g.uniform(0.2, 0.6)) + opens + depth * np.sin(2 * np.pi * swing_hz * age)
    tone = _oscillate(_tables(_resonance(g), g), hz, bright.astype(np.float32))
    level = loud
    if decays:
        rest = np.clip(1 - signal.lfilter([0.002], [1, -0.998], damped), 0, 1)
        level = np.exp(-age / float(g.uniform(0.5, 4))) * rest * np.maximum(loud, 0.3)
    return _body((tone * level).astype(np.float32), g, peaks=4, gain_db=4)


def _fm(performance: Performance, g: np.random.Generator) -> Floats:
    """One oscillator swings another; louder and fresher notes more."""
    hz, loud = _curves(performance, g)
    age, _ = _ages(performance, len(hz))
    phase = 2 * np.pi * np.cumsum(hz.astype(np.float64) / RATE_HZ)
    ratio = float(g.choice([1, 1, 2, 3, 0.5, 1.5]))
    index = (
        float(g.uniform(0.3, 3))
        * (0.3 + loud)
        * (1 + float(g.uniform(0, 1)) * np.exp(-age / float(g.uniform(0.05, 0.6))))
    )
    tone = np.sin(phase + index * np.sin(ratio * phase))
    return (tone * loud).astype(np.float32)


def _sine(performance: Performance, g: np.random.Generator) -> Floats:
    spectrum = _slope(g, (3, 5), (1.5, 4), ripple=0.2)
    return _blown(performance, g, spectrum, breath=(0, 0.005), peaks=2, gain_db=3)


MODELS: dict[str, Callable[[Performance, np.random.Generator], Floats]] = {
    "fiddle": lambda p, g: _blown(
        p, g, _slope(g, (1.3, 2.2), (0.7, 1.2)), breath=(0.01, 0.08), peaks=22,
        gain_db=9, noise_hz=(1500, 8000)),
    "erhu": lambda p, g: _blown(
        p, g, _slope(g, (1.1, 1.8), (0.5, 1.0), even=(0.4, 0.9)), breath=(0.02, 0.08), peaks=9,
        gain_db=14, roll_hz=7000, noise_hz=(1500, 6000)),
    "reed": lambda p, g: _blown(
        p, g, _slope(g, (1.4, 2.6), (0.6, 1.2), even=(0.05, 1)), breath=(0.01, 0.12), peaks=6,
        gain_db=7),
    "double reed": lambda p, g: _blown(
        p, g, _slope(g, (0.9, 1.7), (0.3, 0.9)), breath=(0.0, 0.05), peaks=5, gain_db=14,
        roll_hz=6500),
    "duduk": lambda p, g: _blown(
        p, g, _slope(g, (1.8, 2.8), (1.0, 1.6), even=(0.1, 0.6)), breath=(0.03, 0.15), peaks=4,
        gain_db=9, roll_hz=4500, noise_hz=(500, 3500)),
    "brass": lambda p, g: _blown(
        p, g, _slope(g, (2.0, 3.5), (0.5, 1.1), ripple=0.15), breath=(0.0, 0.03), peaks=3,
        gain_db=8, lift=0.9),
    "flute": lambda p, g: _blown(
        p, g, _slope(g, (2.5, 4.0), (1.5, 2.6), ripple=0.6), breath=(0.05, 0.35), peaks=3,
        gain_db=5, noise_hz=(700, 7000)),
    "whistle": lambda p, g: _blown(
        p, g, _slope(g, (3.5, 5.5), (2.5, 4.0)), breath=(0.02, 0.2), peaks=2, gain_db=4,
        noise_hz=(1500, 9000)),
    "theremin": _sine,
    "saw blade": lambda p, g: _blown(
        p, g, _slope(g, (4, 6), (3, 5)), breath=(0.003, 0.03), peaks=2, gain_db=3),
    "free reed": lambda p, g: _blown(
        p, g, _slope(g, (1.0, 1.8), (0.5, 1.0), ripple=0.5), breath=(0.0, 0.05), peaks=6,
        gain_db=8, roll_hz=7000),
    "melodica": lambda p, g: _blown(
        p, g, _slope(g, (1.1, 1.6), (0.6, 1.1), even=(0.3, 0.8), ripple=0.6),
        breath=(0.02, 0.08), peaks=4, gain_db=10, roll_hz=6000),
    "hurdy-gurdy": lambda p, g: _blown(
        p, g, _slope(g, (0.9, 1.5), (0.5, 1.0), ripple=0.6), breath=(0.05, 0.2), peaks=12,
        gain_db=9, noise_hz=(2000, 8000)),
    "sitar": lambda p, g: _plucked(
        p, g, _slope(g, (1.0, 1.6), (0.3, 0.8)), ring_s=(0.8, 2.5), dull_s=(0.3, 1.5),
        buzz=float(g.uniform(0.2, 1))),
    "string": lambda p, g: _plucked(
        p, g, _slope(g, (1.6, 3.0), (0.5, 1.2)), ring_s=(0.4, 2.0), dull_s=(0.05, 0.6)),
    "steel": lambda p, g: _plucked(
        p, g, _slope(g, (1.4, 2.4), (0.6, 1.2)), ring_s=(1.5, 4.0), dull_s=(0.3, 2.0), peaks=4,
        gain_db=4),
    "electric": lambda p, g: _plucked(
        p, g, _slope(g, (1.4, 2.4), (0.6, 1.2)), ring_s=(2.0, 6.0), dull_s=(0.5, 3.0), peaks=3,
        gain_db=4),
    "saw": lambda p, g: _synth(p, g, _slope(g, (2.0, 4.0), (0.8, 1.1), ripple=0)),
    "square": lambda p, g: _synth(
        p, g, _slope(g, (2.0, 3.5), (0.9, 1.1), even=(0, 0.3), ripple=0)),
    "fm": _fm,
    "resonant": lambda p, g: _swept(p, g, decays=False),
    "wah": lambda p, g: _swept(p, g, decays=True),
    "plunger": lambda p, g: _swept(p, g, decays=False),
    "glass": lambda p, g: _blown(
        p, g, _slope(g, (2.5, 4), (2, 3), ripple=1.0), breath=(0.003, 0.02), peaks=6, gain_db=8),
}  # fmt: skip


def play_synthesised(performance: Performance, model: str, g: np.random.Generator) -> Floats:
    """Play a performance with a model of `MODELS`, drawn anew.

    Returns
    -------
    float32 array [shape=(2, n)]
        At 44.1 kHz, both channels alike.
    """
    audio = MODELS[model](performance, g)
    return np.stack([audio, audio]).astype(np.float32)

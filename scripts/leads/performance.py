"""A melody as somebody plays it: a curve of pitch and a curve of loudness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bands.score import Note
from leads.manner import Manner

__all__ = ["CONTROL_HZ", "Performance", "Played", "perform"]

CONTROL_HZ = 441.0  # 100 samples at 44.1 kHz
Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """A note in seconds. A `tied` one goes on from the last without a new attack."""

    on_s: float
    off_s: float
    pitch: int
    velocity: int
    tied: bool


@dataclass(frozen=True)
class Performance:
    """Notes, and at `CONTROL_HZ` the pitch (MIDI, fractions too) and the loudness (0 to 1)."""

    notes: list[Played]
    pitch: Curve
    loudness: Curve

    @property
    def length_s(self) -> float:
        """Seconds."""
        return len(self.pitch) / CONTROL_HZ


def perform(
    line: list[Note],
    manner: Manner,
    g: np.random.Generator,
    *,
    tempo_bpm: float,
    length_s: float,
    scale: frozenset[int],
) -> Performance:
    """Play a line; `scale` holds the pitch classes that ornaments and trills take.

    Notes at or after `length_s` are left out.
    """
    notes = _timed(_decorated(line, manner, g, tempo_bpm, scale), manner, g, tempo_bpm, length_s)
    n = round(length_s * CONTROL_HZ)
    return Performance(notes, _pitch(notes, manner, g, n), _loudness(notes, manner, g, n))


def _neighbour(pitch: int, step: int, scale: frozenset[int]) -> int:
    other = pitch + step
    while other % 12 not in scale and abs(other - pitch) < 4:
        other += step
    return other


def _decorated(
    line: list[Note],
    manner: Manner,
    g: np.random.Generator,
    tempo_bpm: float,
    scale: frozenset[int],
) -> list[Note]:
    """Add grace notes, turns and trills."""
    beats_per_s = tempo_bpm / 60
    result: list[Note] = []
    for note in line:
        length_s = note.length / beats_per_s
        if length_s < 0.2 or g.random() > manner.ornament:
            result.append(note)
            continue
        up = _neighbour(note.pitch, 1, scale)
        down = _neighbour(note.pitch, -1, scale)
        short = float(g.uniform(0.05, 0.09)) * beats_per_s
        kind = g.choice(["grace", "mordent", "turn", "trill"])
        if kind == "trill" and length_s > 0.5:
            n = int(length_s * float(g.uniform(6, 9)) * float(g.uniform(0.4, 1.0))) // 2 * 2
            each = float(g.uniform(0.11, 0.16)) * beats_per_s
            n = min(n, int(note.length / each) - 1)
            pitches = [note.pitch if k % 2 == 0 else up for k in range(n)] + [note.pitch]
            lengths = [each] * n + [note.length - n * each]
        elif kind == "turn" and length_s > 0.4:
            pitches = [up, note.pitch, down, note.pitch]
            lengths = [short * 1.3] * 3 + [note.length - 3.9 * short]
        elif kind == "mordent" and length_s > 0.3:
            other = up if g.random() < 0.5 else down
            pitches = [note.pitch, other, note.pitch]
            lengths = [short, short, note.length - 2 * short]
        else:
            pitches = [up if g.random() < 0.6 else down, note.pitch]
            lengths = [short, note.length - short]
        beat = note.beat
        for pitch, length in zip(pitches, lengths, strict=True):
            result.append(Note(beat, length, pitch, note.velocity))
            beat += length
    return result


def _timed(
    line: list[Note], manner: Manner, g: np.random.Generator, tempo_bpm: float, length_s: float
) -> list[Played]:
    """Give the notes their seconds and say which are bound to the one before."""
    spread = float(g.uniform(0.002, 0.02))
    detached = float(g.uniform(0.5, 0.95))
    on = [max(0.0, note.beat * 60 / tempo_bpm + float(g.normal(0, spread))) for note in line]
    played: list[Played] = []
    is_bound = False
    for k, note in enumerate(line):
        start = max(on[k], played[-1].on_s + 0.03) if played else on[k]
        written = note.beat * 60 / tempo_bpm + note.length * 60 / tempo_bpm
        follows = k + 1 < len(line) and line[k + 1].beat - note.beat - note.length < 0.02
        goes_on = follows and (g.random() < manner.legato or note.length * 60 / tempo_bpm < 0.1)
        stop = max(on[k + 1], start + 0.03) if goes_on else written
        if not goes_on and follows:
            stop = start + (written - start) * detached
        stop = max(min(stop, length_s - 0.01), start + 0.02)
        if start >= length_s - 0.1:
            break
        last = played[-1] if played else None
        tied = (
            is_bound
            and last is not None
            and abs(note.pitch - last.pitch) <= 7
            and g.random() < manner.glide
        )
        played.append(Played(start, stop, note.pitch, note.velocity, tied))
        is_bound = goes_on
    return played


def _pitch(notes: list[Played], manner: Manner, g: np.random.Generator, n: int) -> Curve:
    seconds = np.arange(n) / CONTROL_HZ
    curve = np.full(n, float(notes[0].pitch) if notes else 60.0)
    previous: Played | None = None
    for k, note in enumerate(notes):
        first = min(n, round(note.on_s * CONTROL_HZ))
        curve[first:] = note.pitch
        joined = previous is not None and note.on_s - previous.off_s < 0.02
        if previous is not None and joined:
            width = manner.glide_s * float(g.uniform(0.5, 1.5)) if note.tied else 0.012
            width = min(
                width, 0.6 * (note.off_s - note.on_s), 0.6 * (previous.off_s - previous.on_s)
            )
            centre = note.on_s + 0.1 * width
            a, b = (round((centre + d) * CONTROL_HZ) for d in (-width, width))
            a, b = max(0, a), min(n, b)
            # Before a glide the last note is heard, after it this one.
            x = np.clip((seconds[a:b] - centre) / (width / 2), -1, 1)
            rise = 0.5 + 0.5 * np.sin(np.pi / 2 * x)
            curve[a:b] = previous.pitch + (note.pitch - previous.pitch) * rise
        elif g.random() < manner.scoop:
            depth = float(g.choice([0.5, 1, 1, 2, 3])) * float(g.choice([-1, -1, -1, 1]))
            tail = min(0.3 * (note.off_s - note.on_s), float(g.uniform(0.03, 0.12)))
            along = seconds[first:] - note.on_s
            curve[first:] += depth * np.exp(-along / max(tail, 1e-3))
        ends = k + 1 == len(notes) or notes[k + 1].on_s - note.off_s > 0.1
        if ends and g.random() < 0.15 * (manner.glide > 0.2):
            fall = float(g.uniform(0.1, 0.3))
            at = round((note.off_s - fall) * CONTROL_HZ)
            if at > first:
                along = np.maximum(0, seconds[at:] - (note.off_s - fall)) / fall
                curve[at:] -= float(g.uniform(1, 4)) * np.minimum(along, 1.2) ** 2
        previous = note
    curve += _vibrato(notes, manner, g, seconds)
    return curve + manner.drift_st * _wandering(g, n, every_s=0.3)


def _wandering(g: np.random.Generator, n: int, *, every_s: float) -> Curve:
    """Return slow noise of standard deviation about 1."""
    points = g.standard_normal(2 + int(n / CONTROL_HZ / every_s))
    wave = np.interp(np.arange(n) / CONTROL_HZ / every_s, np.arange(len(points)), points)
    return ndimage.gaussian_filter1d(wave, 0.1 * CONTROL_HZ)


def _vibrato(notes: list[Played], manner: Manner, g: np.random.Generator, seconds: Curve) -> Curve:
    """Swing the long notes after a while; ever so little faster towards their ends."""
    swing = np.zeros(len(seconds))
    if not manner.vibrato_st:
        return swing
    for note in notes:
        length = note.off_s - note.on_s
        if length < 0.22 or g.random() < 0.1:
            continue
        a, b = round(note.on_s * CONTROL_HZ), round(note.off_s * CONTROL_HZ)
        along = seconds[a:b] - note.on_s
        after = min(manner.vibrato_after_s * float(g.uniform(0.5, 1.3)), 0.5 * length)
        depth = (
            manner.vibrato_st * float(g.uniform(0.5, 1.4)) * np.clip((along - after) / 0.25, 0, 1)
        )
        depth = depth * np.clip((length - along) / 0.05, 0, 1)
        hz = manner.vibrato_hz * float(g.uniform(0.92, 1.08)) * (1 + 0.05 * along / length)
        swing[a:b] = depth * np.sin(2 * np.pi * hz * np.maximum(0, along - after))
    return swing


def _loudness(notes: list[Played], manner: Manner, g: np.random.Generator, n: int) -> Curve:
    curve = np.zeros(n)
    seconds = np.arange(n) / CONTROL_HZ
    for k, note in enumerate(notes):
        a, b = round(note.on_s * CONTROL_HZ), min(n, round(note.off_s * CONTROL_HZ))
        if b <= a:
            continue
        along = (seconds[a:b] - note.on_s) / max(1e-3, note.off_s - note.on_s)
        level = (note.velocity / 127) ** 1.5
        if not manner.decays:
            shape = str(g.choice(["flat", "arch", "rise", "fade"]))
            amount = manner.swell * float(g.uniform(0, 0.6))
            body = {
                "flat": np.zeros_like(along),
                "arch": np.sin(np.pi * along) - 1,
                "rise": along - 1,
                "fade": -along,
            }[shape]
            curve[a:b] = level * (1 + amount * body)
        else:
            curve[a:b] = level
        bound_after = k + 1 < len(notes) and notes[k + 1].on_s - note.off_s < 0.02
        bound_before = k > 0 and note.on_s - notes[k - 1].off_s < 0.02
        if bound_before and not note.tied:
            m = min(b - a, round(0.02 * CONTROL_HZ))
            curve[a : a + m] *= np.linspace(0.6, 1, m)
        elif not bound_before:
            m = min(b - a, max(1, round(manner.attack_s * CONTROL_HZ)))
            curve[a : a + m] *= np.linspace(0, 1, m)
        if not bound_after:
            m = max(2, round(manner.release_s * CONTROL_HZ))
            m = min(m, n - b)
            curve[b : b + m] = curve[b - 1] * np.linspace(1, 0, m) if m else 0
    phrase = np.clip(_wandering(g, n, every_s=3.0), -2, 2) / 2
    curve *= 1 - manner.swell * 0.4 * (0.5 + 0.5 * phrase)
    smooth = ndimage.gaussian_filter1d(curve, 0.004 * CONTROL_HZ)
    return np.clip(smooth, 0, 1)

"""Melodies for one voice: composed by phrases, or tunes fitted to a register."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bands.score import Note, Section

__all__ = ["composed", "folded", "in_thirds"]


def composed(
    section: Section, g: np.random.Generator, *, tempo_bpm: float, low: int, high: int
) -> list[Note]:
    """Compose phrases with rests, in note lengths like a singer's syllables.

    Phrases come back with the same rhythm, sometimes on another degree. The notes lie between
    the MIDI pitches `low` and `high`.
    """
    unit = _unit(tempo_bpm, g)
    end = 4.0 * (section.first_bar + section.n_bars)
    degrees = [0, 1, 2, 4, 5] if g.random() < 0.3 else list(range(7))
    ladder = _ladder(section, degrees, low, high)
    chords = section.bars()
    beat = 4.0 * section.first_bar + unit * int(g.integers(0, 9))
    motifs: list[np.ndarray] = []
    at = len(ladder) // 2
    notes: list[Note] = []
    while beat < end:
        if motifs and g.random() < 0.45:
            rhythm = motifs[int(g.integers(len(motifs)))]
        else:
            rhythm = _rhythm(g)
            motifs.append(rhythm)
        leans = float(g.uniform(-0.3, 0.3))
        for k, units in enumerate(rhythm):
            length = unit * float(units)
            if beat + length > end:
                break
            is_strong = k == len(rhythm) - 1 or beat % 2 < 1e-6
            chord = chords[min(len(chords) - 1, int(beat / 4 - section.first_bar))][1]
            at = _step(at, ladder, leans, g)
            pitch = ladder[at]
            if is_strong and g.random() < 0.6:
                pitch = _nearest(pitch, [(section, chord + d) for d in (0, 2, 4)], low, high)
                at = int(np.argmin(np.abs(np.array(ladder) - pitch)))
            loud = 100 + (8 if is_strong else 0) + g.normal(0, 6)
            notes.append(Note(beat, length, pitch, int(np.clip(loud, 60, 127))))
            beat += length
        beat += unit * int(g.choice([1, 2, 2, 4, 4, 6, 8]))
    return notes


def _unit(tempo_bpm: float, g: np.random.Generator) -> float:
    """Return the beats of a short syllable, 0.11 to 0.35 s."""
    able = [u for u in (0.25, 1 / 3, 0.5, 1.0) if 0.11 <= u * 60 / tempo_bpm <= 0.35]
    return float(g.choice(able or [0.5]))


def _rhythm(g: np.random.Generator) -> np.ndarray:
    """Return a phrase's note lengths in units; the last note is long."""
    n = int(g.integers(4, 15))
    shares = g.dirichlet([3, 3, 1.5, 1])
    lengths = g.choice([1, 2, 3, 4], size=n, p=shares)
    if g.random() < 0.25:
        lengths[int(g.integers(n))] = int(g.integers(6, 13))
    return np.append(lengths, int(g.choice([3, 4, 6, 8, 12])))


def _ladder(section: Section, degrees: list[int], low: int, high: int) -> list[int]:
    pitches = {section.pitch(d + 7 * o, lowest=low) for d in degrees for o in range(-1, 5)}
    return sorted(p for p in pitches if low <= p <= high)


def _step(at: int, ladder: list[int], leans: float, g: np.random.Generator) -> int:
    middle = len(ladder) / 2
    pull = (middle - at) / (len(ladder) + 1)
    drawn = g.random()
    if drawn < 0.15:
        move = 0
    elif drawn < 0.8:
        move = int(g.choice([-1, 1], p=[0.5 - _tilt(leans + pull), 0.5 + _tilt(leans + pull)]))
    else:
        move = int(g.integers(-4, 5))
    return int(np.clip(at + move, 0, len(ladder) - 1))


def _tilt(lean: float) -> float:
    return float(np.clip(lean, -0.45, 0.45))


def _nearest(pitch: int, tones: list[tuple[Section, int]], low: int, high: int) -> int:
    options = [
        base + 12 * octave
        for section, degree in tones
        for base in (section.pitch(degree % 7, lowest=low - 12),)
        for octave in range(5)
        if low <= base + 12 * octave <= high
    ]
    return min(options, key=lambda option: abs(option - pitch)) if options else pitch


def folded(notes: list[Note], *, low: int, high: int) -> list[Note]:
    """Move a line by octaves, and then single notes, until all lie between `low` and `high`."""
    if not notes:
        return []
    middle = float(np.median([note.pitch for note in notes]))
    shift = 12 * round(((low + high) / 2 - middle) / 12)
    result = []
    for note in notes:
        pitch = note.pitch + shift
        while pitch < low:
            pitch += 12
        while pitch > high:
            pitch -= 12
        result.append(replace(note, pitch=max(pitch, low)))
    return result


def in_thirds(
    notes: list[Note], section: Section, *, steps: int, low: int, high: int
) -> list[Note]:
    """Accompany a line by another, `steps` degrees of the scale above it (below if negative)."""
    classes = [(section.root + step) % 12 for step in section.scale]
    result = []
    for note in notes:
        pitch, left = note.pitch, abs(steps)
        while left:
            pitch += 1 if steps > 0 else -1
            left -= pitch % 12 in classes
        result.append(replace(note, pitch=pitch, velocity=max(1, note.velocity - 8)))
    return folded(result, low=low, high=high) if _outside(result, low, high) else result


def _outside(notes: list[Note], low: int, high: int) -> bool:
    return any(not low <= note.pitch <= high for note in notes)

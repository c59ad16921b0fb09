"""Scores: chords, drums, bass, guitars, keys and a melody, drawn by chance within a style."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bands.styles import SCALES, STYLES, Style

__all__ = ["Note", "Part", "Score", "Section", "compose", "play_section", "players"]

_KICK, _SNARE, _RIM, _CLAP, _HAT, _OPEN, _RIDE, _CRASH = 36, 38, 37, 39, 42, 46, 51, 49
_TOMS = (41, 45, 47, 50)


@dataclass(frozen=True)
class Note:
    """A note: beats, MIDI pitch, velocity; `muted` ones are damped with the palm."""

    beat: float
    length: float
    pitch: int
    velocity: int
    muted: bool = False


@dataclass
class Part:
    """One instrument. `program` is General MIDI's, from 0; drums have none."""

    role: str
    program: int | None
    notes: list[Note] = field(default_factory=list)
    amp: bool = False
    bends: bool = False


@dataclass(frozen=True)
class Score:
    """A whole piece."""

    style: str
    tempo_bpm: float
    n_beats: int
    parts: list[Part]


def compose(g: np.random.Generator, *, length_s: float) -> Score:
    """Compose a piece of about `length_s` in a style drawn by chance.

    Sections of four or eight bars change the chords and who plays.
    """
    name = str(g.choice(sorted(STYLES), p=_likely()))
    style = STYLES[name]
    tempo = float(g.uniform(*style.tempo_bpm))
    n_bars = max(8, round(length_s * tempo / 240))
    scale, root = SCALES[str(g.choice(style.scales))], int(g.integers(0, 12))
    parts = players(style, g)
    bar = 0
    while bar < n_bars:
        n = min(int(g.choice([4, 8])), n_bars - bar)
        chords = [int(g.choice([0, 1, 2, 3, 4, 5, 6], p=_DEGREES)) for _ in range(4)]
        chords[0] = 0 if g.random() < 0.7 else chords[0]
        playing = [p for p in parts if g.random() < 0.8]
        for part in playing or parts[:1]:
            play_section(part, style, Section(bar, n, chords, scale, root), g)
        bar += n
    return Score(name, tempo, 4 * n_bars, [p for p in parts if p.notes])


_DEGREES = np.array([0.28, 0.08, 0.08, 0.17, 0.16, 0.15, 0.08])


def _likely() -> list[float]:
    weights = {"metal": 3.0, "rock": 3.0, "pop": 2.0, "electronic": 2.0}
    drawn = np.array([weights.get(name, 1.0) for name in sorted(STYLES)])
    return list(drawn / drawn.sum())


@dataclass(frozen=True)
class Section:
    """Bars of one chord each; the chords, degrees of the scale, come round again."""

    first_bar: int
    n_bars: int
    chords: list[int]
    scale: tuple[int, ...]
    root: int

    def bars(self) -> list[tuple[float, int]]:
        """First beat and degree of the chord of each bar."""
        return [
            (4.0 * (self.first_bar + k), self.chords[k % len(self.chords)])
            for k in range(self.n_bars)
        ]

    def pitch(self, degree: int, *, lowest: int) -> int:
        """Return a degree of the scale as the pitch at or above `lowest` plus its octaves."""
        octave, step = divmod(degree, len(self.scale))
        base = lowest + (self.root - lowest) % 12
        return base + 12 * octave + self.scale[step]


def players(style: Style, g: np.random.Generator) -> list[Part]:
    """Draw the instruments of a style; they have no notes yet."""

    def one(programs: tuple[int, ...]) -> int:
        return int(g.choice(programs))

    amp = g.random() < style.amp
    parts = [Part("drums", None), Part("bass", one(style.bass), amp=amp and g.random() < 0.3)]
    if style.guitars:
        guitar = one(style.guitars)
        parts.append(Part("guitar", guitar, amp=amp))
        if g.random() < 0.5:
            parts.append(Part("arpeggio", guitar, amp=amp and g.random() < 0.3))
    n_keys = sum(g.random() < chance for chance in (0.8, 0.4)) if style.keys else 0
    parts += [Part("keys", one(style.keys)) for _ in range(n_keys)]
    if g.random() < 0.8:
        lead = one(style.leads)
        # 27 is a clean guitar: a solo of it belongs into the amplifier.
        parts.append(Part("lead", lead, amp=lead == 27, bends=g.random() < 0.6))
    return parts


def play_section(part: Part, style: Style, section: Section, g: np.random.Generator) -> None:
    """Add to a part what its role plays in a section."""
    match part.role:
        case "drums":
            part.notes += _drums(str(g.choice(style.drums)), section, g, style.swing)
        case "bass":
            part.notes += _bass(section, g)
        case "guitar":
            part.notes += _riff(section, g) if part.amp else _strummed(section, g)
        case "arpeggio":
            part.notes += _arpeggio(section, g)
        case "keys":
            part.notes += _chords(section, g)
        case _:
            part.notes += _melody(section, g)


def _drums(kind: str, section: Section, g: np.random.Generator, swing: float) -> list[Note]:
    """Return a beat with fills at the end; every second eighth is late by `swing` of it."""
    if kind == "none":
        return []
    cymbal = int(g.choice([_HAT, _HAT, _RIDE, _OPEN]))
    kicks = {
        "rock": [0, 2, 2.5] if g.random() < 0.5 else [0, 1.5, 2],
        "eighths": [0, 0.75, 2, 2.5], "half": [0, 2.75], "four": [0, 1, 2, 3],
        "break": [0, 1.25, 2.5], "swing": [0, 2], "double": list(np.arange(0, 4, 0.25)),
        "blast": list(np.arange(0, 4, 0.5)),
    }[kind]  # fmt: skip
    snares = {"half": [2.0], "blast": list(np.arange(0.25, 4, 0.5)), "swing": [1.5]}.get(
        kind, [1, 3]
    )
    step = 0.25 if kind in ("break", "four") and g.random() < 0.5 else 0.5
    snare = int(g.choice([_SNARE, _SNARE, 40, _CLAP if kind == "four" else _RIM]))
    notes = [Note(4.0 * section.first_bar, 1, _CRASH, 110)]
    for k, (bar, _) in enumerate(section.bars()):
        is_last = k == section.n_bars - 1
        hits = [(b, _KICK, 105) for b in kicks] + [(b, snare, 108) for b in snares]
        hits += [(b, cymbal, 85 if b % 1 else 100) for b in np.arange(0, 4, step)]
        if is_last:  # a fill in the last beats
            hits = [h for h in hits if h[0] < 3]
            hits += [(3 + 0.25 * j, int(g.choice((*_TOMS, _SNARE))), 110) for j in range(4)]
        for beat, drum, velocity in hits:
            late = swing / 2 if beat % 1 == 0.5 else 0.0
            loud = int(np.clip(velocity + g.normal(0, 8), 30, 127))
            notes.append(Note(bar + beat + late, 0.2, drum, loud))
    return notes


def _bass(section: Section, g: np.random.Generator) -> list[Note]:
    step = float(g.choice([0.5, 0.5, 1.0, 2.0, 0.25]))
    moves = g.random() < 0.5
    notes = []
    for bar, chord in section.bars():
        for beat in np.arange(0, 4, step):
            if g.random() < 0.12:
                continue
            degree = chord + (int(g.choice([0, 4, 7, 2])) if moves and beat else 0)
            pitch = section.pitch(degree, lowest=28)
            notes.append(Note(bar + beat, step * 0.9, pitch, int(g.integers(85, 115))))
    return notes


def _riff(section: Section, g: np.random.Generator) -> list[Note]:
    """Power chords, and the lowest string damped between them; one pattern for the section."""
    step = float(g.choice([0.25, 0.5, 0.5]))
    beats = np.arange(0, 4, step)
    is_open = g.random(len(beats)) < g.uniform(0.15, 0.9)
    rests = g.random(len(beats)) < 0.15
    rings = g.random() < 0.3
    notes = []
    for bar, chord in section.bars():
        root = section.pitch(chord, lowest=40 - int(g.choice([0, 0, 2, 4])))
        if rings:
            notes += [Note(bar, 3.9, root + up, 105) for up in (0, 7, 12)]
            continue
        for beat, sounds, rest in zip(beats, is_open, rests, strict=True):
            if rest:
                continue
            velocity = int(g.integers(95, 120))
            if sounds:
                notes += [Note(bar + beat, step, root + up, velocity) for up in (0, 7, 12)]
            else:
                low = section.pitch(0, lowest=36)
                notes.append(Note(bar + beat, step * 0.5, low, velocity, muted=True))
    return notes


def _strummed(section: Section, g: np.random.Generator) -> list[Note]:
    beats = np.arange(0, 4, 0.5)[g.random(8) < g.uniform(0.4, 1.0)]
    notes = []
    for bar, chord in section.bars():
        pitches = [section.pitch(chord + d, lowest=45) for d in (0, 2, 4, 7)]
        for beat in beats:
            delay = float(g.uniform(0.005, 0.03))
            order = pitches if beat % 1 == 0 else pitches[::-1]
            velocity = int(g.integers(65, 105))
            notes += [Note(bar + beat + k * delay, 0.48, p, velocity) for k, p in enumerate(order)]
    return notes


def _arpeggio(section: Section, g: np.random.Generator) -> list[Note]:
    step = float(g.choice([0.25, 0.5]))
    degrees = g.choice([0, 2, 4, 7, 9], size=round(4 / step))
    notes = []
    for bar, chord in section.bars():
        for k, degree in enumerate(degrees):
            pitch = section.pitch(chord + int(degree), lowest=52)
            notes.append(Note(bar + k * step, 2 * step, pitch, int(g.integers(70, 100))))
    return notes  # fmt: skip


def _chords(section: Section, g: np.random.Generator) -> list[Note]:
    lowest = int(g.choice([48, 55, 60, 67]))
    step = float(g.choice([4.0, 4.0, 2.0, 1.0, 0.5]))
    degrees = (0, 2, 4, 6) if g.random() < 0.3 else (0, 2, 4)
    velocity = int(g.integers(60, 100))
    return [
        Note(bar + beat, step * 0.97, section.pitch(chord + d, lowest=lowest), velocity)
        for bar, chord in section.bars()
        for beat in np.arange(0, 4, step)
        for d in degrees
    ]


def _melody(section: Section, g: np.random.Generator) -> list[Note]:
    """A walk on the scale with rests, in the register where voices lie, too."""
    lowest, degree = int(g.choice([52, 57, 64, 69])), int(g.integers(0, 7))
    lengths = g.choice([0.25, 0.5, 1.0, 2.0], p=g.dirichlet([1, 2, 2, 1]), size=64)
    beat, end, k = 4.0 * section.first_bar, 4.0 * (section.first_bar + section.n_bars), 0
    notes = []
    while beat < end:
        length = min(float(lengths[k % 64]), end - beat)
        k += 1
        if g.random() > 0.2:
            degree = int(np.clip(degree + g.integers(-3, 4), -2, 12))
            pitch = section.pitch(degree, lowest=lowest)
            notes.append(Note(beat, length * 0.95, pitch, int(g.integers(80, 118))))
        beat += length
    return notes

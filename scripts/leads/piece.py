"""Pieces: a lead line, who plays it, and what plays below it. All is drawn, nothing sounds yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bands.score import Note, Part, Score, Section, play_section, players
from bands.styles import SCALES, STYLES, Style
from leads.instruments import HELD_OUT, INSTRUMENTS, SETS, VALID_SET, Instrument
from leads.manner import Manner, draw_manner
from leads.melody import composed, folded, in_thirds
from leads.tunes import Tune

__all__ = ["KINDS", "Lead", "Piece", "compose_piece"]

KINDS = {"alone": 0.12, "drone": 0.12, "percussion": 0.08, "thin": 0.36, "full": 0.32}
_MODES = SCALES | {
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "hijaz": (0, 1, 4, 5, 7, 8, 10),
    "double harmonic": (0, 1, 4, 5, 7, 8, 11),
    "hungarian": (0, 2, 3, 6, 7, 8, 11),
}
_DRONES = (20, 48, 49, 88, 89, 90, 92, 95, 104, 107, 42, 43)
_HAND_DRUMS = (60, 61, 62, 63, 64, 41, 54, 56, 70, 75, 77)
_WITH_BANKS = ("fluid", "musescore", "csound")
_LOWEST, _HIGHEST = 51, 84  # 156 to 1047 Hz


@dataclass(frozen=True)
class Lead:
    """A line and its player; `sample_set` is None for the project's own synthesiser."""

    instrument: Instrument
    sample_set: str | None
    program: int | None
    manner: Manner
    line: tuple[Note, ...]
    pan: float
    gain_db: float


@dataclass(frozen=True)
class Piece:
    """A whole piece; `lead_db` is the leads' level against the backing."""

    kind: str
    tempo_bpm: float
    length_s: float
    section: Section
    leads: tuple[Lead, ...]
    backing: Score
    backing_set: str
    lead_db: float
    tune: str | None = None


def compose_piece(
    g: np.random.Generator,
    *,
    length_s: float,
    tune: Tune | None = None,
    held_out: bool = False,
    sets: tuple[str, ...] = tuple(SETS),
    kind: str | None = None,
    leader: tuple[str, str | None] | None = None,
) -> Piece:
    """Compose a piece.

    Parameters
    ----------
    tune : Tune or None
        The melody; without it one is composed.
    held_out : bool
        Take held-out instruments and the held-out sample set, and only these; otherwise never.
    sets : tuple of str
        Sample sets that are there.
    kind : str or None
        A key of `KINDS`, what plays below the lead; drawn if None.
    leader : (str, str or None) or None
        Name of the first instrument that leads, and its sample set (None: own synthesiser).
    """
    able = [s for s in sets if (s == VALID_SET) == held_out]
    drawn = str(g.choice(list(KINDS), p=np.array(list(KINDS.values())) / sum(KINDS.values())))
    kind = kind or drawn
    style_name = str(g.choice(sorted(STYLES)))
    if tune is None:
        tempo = float(
            g.uniform(60, 150) if kind != "full" else g.uniform(*STYLES[style_name].tempo_bpm)
        )
        section = _own_section(g, kind, style_name, length_s, tempo)
        passes: list[Note] = []
    else:
        tempo, section, passes = _tune_section(tune, g, length_s)
    n_spans = int(g.choice([1, 2]))
    leads: list[Lead] = []
    for k in range(n_spans):
        span = Section(
            section.first_bar + section.n_bars * k // n_spans,
            section.n_bars * (k + 1) // n_spans - section.n_bars * k // n_spans,
            section.chords, section.scale, section.root,
        )  # fmt: skip
        drawn_leader = _draw_instrument(g, sets, held_out=held_out)
        if leader and k == 0:
            drawn_leader = (INSTRUMENTS[leader[0]], leader[1])
        leads += _span_leads(
            span, passes, g, tempo, kind, drawn_leader, sets=sets, held_out=held_out
        )
    parts = _backing(kind, STYLES[style_name], section, g)
    backing = Score(style_name, tempo, 4 * section.n_bars, parts)
    weights = np.array([SETS[s].weight for s in able])
    return Piece(
        kind, tempo, length_s, section, tuple(leads), backing,
        str(g.choice(able, p=weights / weights.sum())) if able else "",
        float(g.uniform(-3, 10)), tune.name if tune else None,
    )  # fmt: skip


def _own_section(
    g: np.random.Generator, kind: str, style: str, length_s: float, tempo: float
) -> Section:
    modes = STYLES[style].scales if kind in ("full", "thin") else tuple(_MODES)
    scale = _MODES[str(g.choice(modes))]
    chords = [int(g.choice(7, p=_CHORDS)) for _ in range(int(g.choice([4, 4, 8])))]
    chords[0] = 0
    if kind in ("alone", "drone"):
        chords = [0]
    n_bars = int(np.ceil(length_s * tempo / 240))
    return Section(0, n_bars, chords, scale, int(g.integers(0, 12)))


_CHORDS = np.array([0.28, 0.08, 0.08, 0.17, 0.16, 0.15, 0.08])


def _tune_section(
    tune: Tune, g: np.random.Generator, length_s: float
) -> tuple[float, Section, list[Note]]:
    """Return tempo, bars with chords that fit, and the tune again and again."""
    shift = int(g.integers(-6, 6))
    lengths = [length for length, pitch in tune.notes if pitch is not None]
    target_s = float(np.exp(g.uniform(np.log(0.17), np.log(0.5))))
    tempo = float(np.clip(240 * np.median(lengths) / target_s, 40, 220))
    n_bars = int(np.ceil(length_s * tempo / 240))
    line: list[Note] = []
    beat = 0.0
    cycle = np.ceil(sum(length for length, _ in tune.notes)) + int(g.integers(0, 2))
    start = 0.0
    while beat < 4 * n_bars:
        octave = int(g.choice([0, 0, 12, -12])) if line else 0
        for length, pitch in tune.notes:
            if pitch is not None:
                loud = int(np.clip(100 + g.normal(0, 8) + 8 * (beat % 4 < 0.01), 60, 127))
                # A singer breathes: some notes at the ends of bars are shorter.
                is_breath = (beat + 4 * length) % 8 < 0.01 and g.random() < 0.5
                held = 4 * length * (0.6 if is_breath else 1.0)
                line.append(Note(beat, held, pitch + shift + octave, loud))
            beat += 4 * length
        start += cycle
        beat = max(beat, 4 * start)
    line = [note for note in line if note.beat < 4 * n_bars]
    root = (tune.root + shift) % 12
    return (
        tempo,
        Section(0, n_bars, _fitting(line, root, tune.scale, n_bars), tune.scale, root),
        line,
    )


def _fitting(line: list[Note], root: int, scale: tuple[int, ...], n_bars: int) -> list[int]:
    """Return the degree of each bar whose triad has most of the bar's notes."""
    weight = np.zeros((n_bars, 12))
    for note in line:
        weight[min(n_bars - 1, int(note.beat // 4)), note.pitch % 12] += note.length
    bias = np.array([0.4, 0.0, 0.0, 0.25, 0.3, 0.2, -1.0])
    fit = np.array(
        [
            [sum(bar[(root + scale[(d + step) % 7]) % 12] for step in (0, 2, 4)) for d in range(7)]
            for bar in weight
        ]
    )
    return [int(k) for k in np.argmax(fit + bias, axis=1)]


def _span_leads(
    span: Section, passes: list[Note], g: np.random.Generator, tempo: float, kind: str,
    leader: tuple[Instrument, str | None], *, sets: tuple[str, ...], held_out: bool,
) -> list[Lead]:  # fmt: skip
    """Draw who leads in a span, and at times who doubles or accompanies in thirds."""
    instrument, sample_set = leader
    low, high = _compass(instrument, g)
    first, last = 4.0 * span.first_bar, 4.0 * (span.first_bar + span.n_bars)
    if passes:
        line = folded([n for n in passes if first <= n.beat < last], low=low, high=high)
    else:
        line = composed(span, g, tempo_bpm=tempo, low=low, high=high)
        if kind in ("alone", "drone") and g.random() < 0.5:
            line = _freely(line, g)
    pan = 0.0 if g.random() < 0.75 else float(g.uniform(-0.6, 0.6))
    leads = [_lead(instrument, sample_set, line, pan, 0.0, g)]
    drawn = g.random()
    if drawn < 0.35:
        other, other_set = instrument, sample_set
        if g.random() < 0.5:
            other, other_set = _draw_instrument(g, sets, held_out=held_out)
        wide = float(g.choice([0.0, 0.3, 0.7]))
        if drawn < 0.2:
            steps = int(g.choice([2, -2, -2, -5, 5, 3, -3]))
            second = in_thirds(line, span, steps=steps, low=_LOWEST, high=_HIGHEST)
            gain = float(g.uniform(-9, 0))
        else:
            second = line
            gain = float(g.uniform(-6, 0))
        second = folded(second, low=max(other.low, _LOWEST), high=min(other.high, _HIGHEST))
        leads[0] = replace(leads[0], pan=leads[0].pan - 0.5 * wide)
        leads.append(_lead(other, other_set, second, min(1.0, pan + 0.5 * wide), gain, g))
    return leads


def _lead(
    instrument: Instrument, sample_set: str | None, line: list[Note], pan: float, gain_db: float,
    g: np.random.Generator,
) -> Lead:  # fmt: skip
    program = int(g.choice(instrument.programs)) if sample_set else None
    manner = draw_manner(instrument.manner, g)
    return Lead(instrument, sample_set, program, manner, tuple(line), pan, gain_db)


def _draw_instrument(
    g: np.random.Generator, sets: tuple[str, ...], *, held_out: bool
) -> tuple[Instrument, str | None]:
    """Draw an instrument and a sample set, or None for the own synthesiser."""
    options: list[tuple[Instrument, str | None, float]] = []
    for name, instrument in INSTRUMENTS.items():
        is_out = name in HELD_OUT
        # Held-out instruments come six times as often as those of the held-out set.
        chance = instrument.weight * (6 if is_out else 1)
        if instrument.own and is_out == held_out:
            options.append((instrument, None, chance))
        elif instrument.programs:
            able = [s for s in sets if (is_out or s == VALID_SET) == held_out]
            able = [s for s in able if not instrument.bank or s in _WITH_BANKS]
            total = sum(SETS[s].weight for s in able)
            options += [(instrument, s, chance * SETS[s].weight / total) for s in able]
    chances = np.array([weight for _, _, weight in options])
    instrument, sample_set, _ = options[int(g.choice(len(options), p=chances / chances.sum()))]
    return instrument, sample_set


def _compass(instrument: Instrument, g: np.random.Generator) -> tuple[int, int]:
    """Return the lowest and highest note: a singer's compass within the instrument's."""
    low, high = max(instrument.low, _LOWEST), min(instrument.high, _HIGHEST)
    width = int(g.integers(12, 20))
    start = int(g.integers(low, max(low + 1, high - width)))
    return start, min(high, start + width)


def _freely(line: list[Note], g: np.random.Generator) -> list[Note]:
    """Play without a beat: each note a little shorter or much longer."""
    result, shift = [], 0.0
    for note in line:
        length = note.length * float(np.exp(g.normal(0.1, 0.35)))
        result.append(replace(note, beat=note.beat + shift, length=length))
        shift += length - note.length
    return result


def _backing(kind: str, style: Style, section: Section, g: np.random.Generator) -> list[Part]:
    """Draw and compose what plays below the lead."""
    if kind == "alone":
        return []
    if kind == "drone":
        parts = [_drone(section, g)]
        return [*parts, _hand_drums(section, g)] if g.random() < 0.4 else parts
    if kind == "percussion" and g.random() < 0.5:
        return [_hand_drums(section, g)]
    if kind == "percussion":
        return _played([Part("drums", None)], style, section, g)
    if kind == "thin":
        chosen = [
            Part("guitar", int(g.choice([24, 25, 26, 27]))),
            Part("arpeggio", int(g.choice([24, 25, 46, 0, 4, 5, 6, 15, 107]))),
            Part("keys", int(g.choice([0, 1, 2, 4, 5, 16, 19, 48, 49, 50, 88, 89, 90, 95]))),
        ]
        parts = [chosen[k] for k in g.choice(3, size=int(g.choice([1, 1, 2])), replace=False)]
        if g.random() < 0.6:
            parts.append(Part("bass", int(g.choice([32, 33, 35, 38, 43]))))
        if g.random() < 0.25:
            parts.append(_hand_drums(section, g))
        return _played(parts, style, section, g)
    parts = [part for part in players(style, g) if part.role != "lead"]
    return _played(parts, style, section, g)


def _played(
    parts: list[Part], style: Style, section: Section, g: np.random.Generator
) -> list[Part]:
    """Let the parts play section by section of four or eight bars; some pause."""
    bar = section.first_bar
    while bar < section.first_bar + section.n_bars:
        n = min(int(g.choice([4, 8])), section.first_bar + section.n_bars - bar)
        turned = [
            section.chords[(bar - section.first_bar + k) % len(section.chords)] for k in range(n)
        ]
        for part in parts:
            if len(parts) == 1 or g.random() < 0.85:
                _add(part, style, Section(bar, n, turned, section.scale, section.root), g)
        bar += n
    return [part for part in parts if part.notes]


def _add(part: Part, style: Style, section: Section, g: np.random.Generator) -> None:
    if part.role != "hands":
        play_section(part, style, section, g)


def _drone(section: Section, g: np.random.Generator) -> Part:
    """Return a held or plucked root and fifth, or root and octave."""
    root = 36 + section.root
    fifth = root + int(g.choice([7, 7, 5, 12]))
    program = int(g.choice(_DRONES))
    end = 4.0 * section.n_bars
    part = Part("drone", program)
    if program in (104, 107):  # a tanpura: fifth, octave, octave, root
        step = float(g.choice([0.5, 1.0]))
        beats = np.arange(0, end, step)
        order = (fifth, root + 12, root + 12, root)
        part.notes += [
            Note(float(b), 4 * step, order[k % 4], int(g.integers(60, 90)))
            for k, b in enumerate(beats)
        ]
        return part
    bars = float(g.choice([2, 4, 8]))
    for beat in np.arange(0, end, 4 * bars):
        held = min(4 * bars, end - beat)
        part.notes += [Note(float(beat), held, p, 85) for p in (root, fifth, root + 12)]
    return part


def _hand_drums(section: Section, g: np.random.Generator) -> Part:
    """Return a loop of two or three hand drums and rattles, with gaps."""
    drums = g.choice(_HAND_DRUMS, size=3, replace=False)
    steps = int(g.choice([8, 12, 16]))
    pattern = [(k, int(g.choice(drums)), int(g.integers(60, 120)))
               for k in range(steps) if g.random() < g.uniform(0.3, 0.8)]  # fmt: skip
    part = Part("hands", None)
    for bar in range(section.n_bars):
        for k, drum, velocity in pattern:
            if g.random() < 0.93:
                loud = int(np.clip(velocity + g.normal(0, 8), 30, 127))
                part.notes.append(Note(4 * bar + 4 * k / steps, 0.2, drum, loud))
    return part

"""Instruments that sing a melody: who plays them, how high they go, how they are played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "HELD_OUT",
    "INSTRUMENTS",
    "SETS",
    "SINGERS",
    "VALID_SET",
    "Instrument",
    "SampleSet",
]

SINGERS = frozenset({52, 53, 54, 85, 91})  # General MIDI's choirs and voices, from 0


@dataclass(frozen=True)
class SampleSet:
    """A soundfont: its file, how often it is drawn, its licence."""

    path: Path
    weight: float
    licence: str


_DEBIAN = Path("/usr/share/sounds")
SETS = {
    "fluid": SampleSet(_DEBIAN / "sf2/FluidR3_GM.sf2", 3.0, "MIT"),
    "musescore": SampleSet(_DEBIAN / "sf2/MuseScore_General_Full.sf2", 2.0, "MIT"),
    "csound": SampleSet(_DEBIAN / "sf2/sf_GMbank.sf2", 1.5, "public domain"),
    "opl3": SampleSet(_DEBIAN / "sf2/OPL-3_FM_128M.sf2", 0.3, "CC BY-SA 4.0"),
    "timgm": SampleSet(_DEBIAN / "sf2/TimGM6mb.sf2", 1.0, "GPL-2"),
}
VALID_SET = "timgm"  # nothing of it is in the training pieces


@dataclass(frozen=True)
class Instrument:
    """A lead instrument.

    `programs` are General MIDI's, from 0, where sample sets play it; `own` names a model of
    `leads.synth`. `manner` is a way of playing of `leads.manner`;
    `low` and `high` are MIDI pitches; `amp` is a guitar amplifier.
    """

    name: str
    manner: str
    low: int = 51
    high: int = 84
    programs: tuple[int, ...] = ()
    own: str | None = None
    weight: float = 1.0
    amp: bool = False
    bank: int = 0


_SAMPLED = [
    Instrument("violin", "bowed", 55, 84, (40,), weight=2),
    Instrument("viola", "bowed", 51, 79, (41,)),
    Instrument("cello", "bowed", 51, 72, (42,), weight=2),
    Instrument("fiddle", "bowed", 55, 84, (110,), weight=1.5),
    Instrument("slow violin", "bowed", 55, 84, (40,), bank=8),
    Instrument("soprano sax", "reed", 56, 84, (64,), weight=1.3),
    Instrument("alto sax", "reed", 51, 81, (65,), weight=1.5),
    Instrument("tenor sax", "reed", 51, 76, (66,), weight=1.5),
    Instrument("baritone sax", "reed", 51, 69, (67,), weight=0.5),
    Instrument("oboe", "reed", 58, 84, (68,), weight=1.3),
    Instrument("English horn", "reed", 52, 79, (69,)),
    Instrument("bassoon", "reed", 51, 74, (70,)),
    Instrument("clarinet", "reed", 51, 84, (71,), weight=1.5),
    Instrument("shehnai", "reed", 57, 82, (111,)),
    Instrument("trumpet", "brass", 54, 82, (56,), weight=1.5),
    Instrument("trombone", "brass", 51, 72, (57,), weight=1.3),
    Instrument("muted trumpet", "brass", 54, 82, (59,)),
    Instrument("horn", "brass", 51, 76, (60,)),
    Instrument("brass section", "brass", 51, 79, (61, 62, 63), weight=0.6),
    Instrument("flute", "blown", 60, 84, (73,), weight=1.3),
    Instrument("recorder", "blown", 60, 84, (74,)),
    Instrument("pan pipes", "blown", 57, 84, (75,)),
    Instrument("bottle", "blown", 55, 84, (76,), weight=0.5),
    Instrument("shakuhachi", "blown", 55, 84, (77,)),
    Instrument("whistle", "blown", 62, 84, (78,)),
    Instrument("ocarina", "blown", 60, 84, (79,)),
    Instrument("piccolo", "blown", 69, 84, (72,), weight=0.3),
    Instrument("bagpipe", "drone pipe", 58, 79, (109,), weight=0.7),
    Instrument("accordion", "free reed", 53, 84, (21,), weight=1.3),
    Instrument("harmonica", "free reed", 57, 84, (22,)),
    Instrument("bandoneon", "free reed", 53, 84, (23,)),
    Instrument("reed organ", "keyed", 51, 84, (20,), weight=0.4),
    Instrument("organ", "keyed", 51, 84, (16, 17, 18), weight=0.6),
    Instrument("sitar", "plucked", 51, 77, (104,), weight=1.2),
    Instrument("banjo", "plucked", 51, 79, (105,)),
    Instrument("shamisen", "plucked", 51, 76, (106,)),
    Instrument("koto", "plucked", 51, 79, (107,)),
    Instrument("kalimba", "struck", 55, 84, (108,), weight=0.5),
    Instrument("vibraphone", "struck", 53, 84, (11, 12), weight=0.4),
    Instrument("nylon guitar", "plucked", 51, 79, (24,)),
    Instrument("steel guitar", "plucked", 51, 79, (25,)),
    Instrument("Hawaiian guitar", "slide", 51, 79, (26,), bank=8),
    Instrument("jazz guitar", "plucked", 51, 79, (26,)),
    Instrument("clean guitar", "plucked", 51, 81, (27,)),
    Instrument("mandolin", "plucked", 55, 84, (25,), bank=16, weight=0.6),
    Instrument("lead guitar", "electric", 51, 84, (29, 30), weight=2),
    Instrument("amplified guitar", "electric", 51, 84, (27,), weight=1.5, amp=True),
    Instrument("square lead", "synth", 51, 84, (80,)),
    Instrument("saw lead", "synth", 51, 84, (81, 87), weight=1.3),
    Instrument("synth lead", "synth", 51, 84, (82, 83, 84, 86), weight=1.0),
    Instrument("piano", "struck", 51, 84, (0, 4, 5), weight=0.3),
]
_OWN = [
    Instrument("own fiddle", "bowed", 51, 84, own="fiddle", weight=4),
    Instrument("own erhu", "bowed", 57, 82, own="erhu", weight=2),
    Instrument("own reed", "reed", 51, 84, own="reed", weight=3),
    Instrument("own double reed", "reed", 53, 81, own="double reed", weight=3),
    Instrument("own duduk", "reed", 51, 74, own="duduk", weight=2),
    Instrument("own horn", "brass", 51, 79, own="brass", weight=3),
    Instrument("own flute", "blown", 57, 84, own="flute", weight=3),
    Instrument("own whistle", "blown", 62, 84, own="whistle", weight=1),
    Instrument("theremin", "theremin", 51, 84, own="theremin", weight=2),
    Instrument("musical saw", "theremin", 60, 84, own="saw blade", weight=1),
    Instrument("own harmonica", "free reed", 55, 84, own="free reed", weight=2),
    Instrument("melodica", "free reed", 53, 84, own="melodica", weight=1),
    Instrument("hurdy-gurdy", "drone pipe", 55, 79, own="hurdy-gurdy", weight=1.5),
    Instrument("own sitar", "plucked", 51, 77, own="sitar", weight=2),
    Instrument("own string", "plucked", 51, 81, own="string", weight=2),
    Instrument("slide guitar", "slide", 51, 81, own="steel", weight=2),
    Instrument("own lead guitar", "electric", 51, 84, own="electric", weight=3, amp=True),
    Instrument("own saw lead", "synth", 51, 84, own="saw", weight=3),
    Instrument("own square lead", "synth", 51, 84, own="square", weight=2),
    Instrument("FM lead", "synth", 51, 84, own="fm", weight=2),
    Instrument("resonant lead", "synth", 51, 84, own="resonant", weight=3),
    Instrument("wah guitar", "electric", 51, 84, own="wah", weight=2),
    Instrument("plunger trumpet", "brass", 54, 82, own="plunger", weight=2),
    Instrument("bowed glass", "theremin", 57, 84, own="glass", weight=1),
]
INSTRUMENTS = {instrument.name: instrument for instrument in (*_SAMPLED, *_OWN)}
# Never in a training piece; leads/valid has these, and any instrument of the set VALID_SET.
HELD_OUT = frozenset({"viola", "bassoon", "shamisen", "harmonica", "own erhu", "melodica"})

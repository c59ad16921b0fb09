"""Styles: what kinds of music draw their instruments, beats, scales and tempos from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCALES", "STYLES", "Style"]

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
}

# General MIDI programs, from 0; none that sings (52 to 54, 85, 91) is among them.
_PIANOS, _EPIANOS, _MALLETS = (0, 1, 2, 3), (4, 5, 6, 7), (8, 11, 12, 13, 14)
_ORGANS, _ACOUSTIC, _CLEAN = (16, 17, 18, 19, 21), (24, 25), (26, 27)
_STRINGS, _BRASS, _REEDS = (48, 49, 50, 51), (61, 62, 63), (64, 65, 66, 67, 68, 71)
_SOLO_STRINGS, _PIPES, _TRUMPETS = (40, 41, 42), (72, 73, 75, 79), (56, 57, 59, 60)
_SYNTH_LEADS, _PADS = (80, 81, 82, 83, 84, 86, 87), (88, 89, 90, 92, 93, 94, 95)
_WORLD = (104, 105, 106, 107, 108, 109, 110)
_SYNTH_BASS, _BASS = (38, 39), (32, 33, 34, 35, 36)


@dataclass(frozen=True)
class Style:
    """What a kind of music draws from.

    `amp` is how often guitars go through an overdriven amplifier; `drums` names beats.
    """

    tempo_bpm: tuple[float, float]
    scales: tuple[str, ...]
    drums: tuple[str, ...]
    bass: tuple[int, ...]
    guitars: tuple[int, ...]
    keys: tuple[int, ...]
    leads: tuple[int, ...]
    amp: float = 0.0
    swing: float = 0.0


STYLES = {
    "metal": Style((90, 210), ("minor", "phrygian", "harmonic"), ("double", "rock", "blast"),
                   (33, 34), (27,), _PADS + _STRINGS, (27, 29, 30), amp=1.0),
    "rock": Style((90, 170), ("major", "minor", "dorian"), ("rock", "eighths", "double"),
                  (33, 34), (26, 27), _ORGANS + _PIANOS, (27, 29, 30, *_ORGANS), amp=0.85),
    "pop": Style((80, 130), ("major", "minor"), ("rock", "four", "half"), _BASS + _SYNTH_BASS,
                 _ACOUSTIC + _CLEAN, _PIANOS + _EPIANOS + _PADS + _STRINGS,
                 _SYNTH_LEADS + _STRINGS + _MALLETS, amp=0.2),
    "electronic": Style((95, 175), ("minor", "dorian", "phrygian"), ("four", "break", "half"),
                        _SYNTH_BASS, (), _PADS + _SYNTH_LEADS + _EPIANOS, _SYNTH_LEADS),
    "funk": Style((90, 125), ("dorian", "minor"), ("break", "eighths"), (33, 36, 37), (27, 28),
                  _EPIANOS + _ORGANS + _BRASS, _REEDS + _TRUMPETS + _BRASS, amp=0.1, swing=0.1),
    "jazz": Style((80, 200), ("dorian", "major"), ("swing",), (32,), (26,), _PIANOS + _EPIANOS,
                  _REEDS + _TRUMPETS, swing=0.33),
    "folk": Style((70, 140), ("major", "dorian", "minor"), ("half", "none", "rock"), (32, 33),
                  _ACOUSTIC, (*_PIANOS, 21, 22, 23), _SOLO_STRINGS + _PIPES + _WORLD + (22,)),
    "orchestral": Style((60, 130), ("minor", "harmonic", "major"), ("none", "half"), (43, 42),
                        (46,), _STRINGS + _BRASS, _SOLO_STRINGS + _PIPES + _REEDS + _TRUMPETS),
}  # fmt: skip

"""Ways of playing: how much an instrument swings, slides, swells and decorates its notes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MANNERS", "Manner", "Range", "draw_manner"]


@dataclass(frozen=True)
class Range:
    """What a way of playing draws from: each pair is the least and the most."""

    vibrato_st: tuple[float, float] = (0.1, 0.6)
    straight: float = 0.1  # share of players without vibrato
    glide: tuple[float, float] = (0.1, 0.8)
    glide_s: tuple[float, float] = (0.04, 0.2)
    scoop: tuple[float, float] = (0.05, 0.5)
    ornament: tuple[float, float] = (0.02, 0.25)
    legato: tuple[float, float] = (0.5, 1.0)
    swell: tuple[float, float] = (0.2, 1.0)
    attack_s: tuple[float, float] = (0.02, 0.12)
    decays: bool = False  # plucked and struck: the loudness is the string's own


MANNERS = {
    "bowed": Range(glide=(0.15, 0.9), glide_s=(0.04, 0.25), attack_s=(0.03, 0.15)),
    "reed": Range(vibrato_st=(0.08, 0.5), scoop=(0.1, 0.6), attack_s=(0.015, 0.08)),
    "brass": Range((0.05, 0.45), 0.2, (0.05, 0.6), attack_s=(0.02, 0.08)),
    "blown": Range((0.05, 0.4), 0.15, (0.05, 0.6), ornament=(0.05, 0.35), attack_s=(0.02, 0.1)),
    "drone pipe": Range((0.0, 0.15), 0.5, (0.0, 0.4), scoop=(0, 0.1), ornament=(0.15, 0.5),
                        swell=(0, 0.2)),
    "free reed": Range((0.03, 0.3), 0.3, (0.0, 0.5), scoop=(0.0, 0.5), attack_s=(0.01, 0.06)),
    "keyed": Range((0.05, 0.3), 0.4, (0.0, 0.2), scoop=(0, 0.1)),
    "plucked": Range((0.05, 0.5), 0.3, (0.1, 0.7), (0.05, 0.25), attack_s=(0.003, 0.01),
                     decays=True),
    "struck": Range((0.0, 0.1), 0.8, (0.0, 0.1), scoop=(0, 0.05), attack_s=(0.003, 0.01),
                    decays=True),
    "slide": Range((0.15, 0.7), 0.0, (0.6, 1.0), (0.08, 0.35), (0.3, 0.8), decays=True,
                   attack_s=(0.005, 0.02)),
    "electric": Range((0.1, 0.8), 0.05, (0.2, 0.8), (0.04, 0.2), (0.1, 0.6), (0.05, 0.3),
                      attack_s=(0.004, 0.02)),
    "synth": Range((0.05, 0.6), 0.2, (0.1, 1.0), (0.03, 0.2), attack_s=(0.005, 0.08)),
    "theremin": Range((0.15, 0.8), 0.0, (0.8, 1.0), (0.08, 0.35), (0.2, 0.7), (0.0, 0.1),
                      legato=(0.9, 1.0), attack_s=(0.05, 0.2)),
}  # fmt: skip


@dataclass(frozen=True)
class Manner:
    """How one player plays: shares are chances a note, depths are semitones."""

    vibrato_st: float
    vibrato_hz: float
    vibrato_after_s: float
    tremolo: float
    glide: float
    glide_s: float
    scoop: float
    ornament: float
    legato: float
    swell: float
    attack_s: float
    release_s: float
    drift_st: float
    decays: bool


def draw_manner(name: str, g: np.random.Generator) -> Manner:
    """Draw a player of a way of playing."""
    of = MANNERS[name]

    def one(pair: tuple[float, float]) -> float:
        return float(g.uniform(*pair))

    depth = 0.0 if g.random() < of.straight else one(of.vibrato_st)
    return Manner(
        vibrato_st=depth,
        vibrato_hz=one((4.5, 7.0)),
        vibrato_after_s=one((0.05, 0.4)),
        tremolo=one((0.0, 0.25)),
        glide=one(of.glide),
        glide_s=one(of.glide_s),
        scoop=one(of.scoop),
        ornament=one(of.ornament),
        legato=one(of.legato),
        swell=one(of.swell),
        attack_s=one(of.attack_s),
        release_s=one((0.03, 0.15)),
        drift_st=one((0.01, 0.08)),
        decays=of.decays,
    )

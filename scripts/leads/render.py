"""A piece as sound: the leads' players, the backing, the desk."""

from __future__ import annotations

import numpy as np

from bands.score import Score
from bands.sound import RATE_HZ, Floats, amplified, limited, summed
from leads.instruments import SETS
from leads.performance import Performance, perform
from leads.piece import Lead, Piece
from leads.room import dressed, panned
from leads.sampled import play_sampled
from leads.synth import play_synthesised

__all__ = ["active_rms", "play_backing", "play_lead", "play_leads", "play_piece"]


def active_rms(audio: Floats) -> float:
    """Return the RMS of the frames of 50 ms within 30 dB of the loudest; 0 for silence."""
    n = RATE_HZ // 20
    cut = audio[:, : audio.shape[1] // n * n]
    power = np.mean(cut.reshape(audio.shape[0], -1, n) ** 2, axis=(0, 2))
    loud = power[power > 1e-3 * power.max()] if power.size and power.max() > 0 else power[:0]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def play_lead(lead: Lead, piece: Piece, g: np.random.Generator) -> tuple[Floats, Performance]:
    """Play one line, dry; its active frames have an RMS of 1.

    Returns
    -------
    float32 array [shape=(2, n)]
        At 44.1 kHz, `piece.length_s` long.
    Performance
        What was played.
    """
    section = piece.section
    scale = frozenset((section.root + step) % 12 for step in section.scale)
    performance = perform(
        list(lead.line), lead.manner, g,
        tempo_bpm=piece.tempo_bpm, length_s=piece.length_s, scale=scale,
    )  # fmt: skip
    instrument = lead.instrument
    if lead.sample_set is None:
        assert instrument.own is not None
        audio = play_synthesised(performance, instrument.own, g)
    else:
        assert lead.program is not None
        audio = play_sampled(
            performance, SETS[lead.sample_set].path, program=lead.program, bank=instrument.bank,
            decays=lead.manner.decays, wet=g.random() < 0.2,
        )  # fmt: skip
    if instrument.amp:
        loud = amplified(audio.mean(axis=0), g)
        audio = np.stack([loud, loud])
    audio = np.nan_to_num(audio)
    return audio / max(1e-6, active_rms(audio)), performance


def play_leads(piece: Piece, g: np.random.Generator) -> Floats:
    """Play all lines as they stand in the record, [shape=(2, n)], active RMS 1."""
    whole = np.zeros((2, round(piece.length_s * RATE_HZ)), np.float32)
    for lead in piece.leads:
        if not lead.line:
            continue
        audio, _ = play_lead(lead, piece, g)
        audio = dressed(audio, g, beat_s=60 / piece.tempo_bpm)
        audio = panned(audio, lead.pan) * np.float32(10 ** (lead.gain_db / 20))
        n = min(whole.shape[1], audio.shape[1])
        whole[:, :n] += audio[:, :n]
    return whole / max(1e-6, active_rms(whole))


def play_backing(piece: Piece, g: np.random.Generator) -> Floats:
    """Play what lies below the lead, [shape=(2, n)]; silence if nothing does."""
    n = round(piece.length_s * RATE_HZ)
    whole = np.zeros((2, n), np.float32)
    score: Score = piece.backing
    if score.parts:
        audio = summed(score, SETS[piece.backing_set].path, g, block=4096)[:, :n]
        whole[:, : audio.shape[1]] = audio
    return whole


def play_piece(piece: Piece, g: np.random.Generator) -> Floats:
    """Play a piece as a record.

    Returns
    -------
    float32 array [shape=(2, n)]
        At 44.1 kHz, `piece.length_s` long; its loudest sample is 0.9.
    """
    leads = play_leads(piece, g)
    backing = play_backing(piece, g)
    rms = active_rms(backing)
    mix = leads if rms == 0 else leads * np.float32(10 ** (piece.lead_db / 20)) + backing / rms
    fade = round(0.05 * RATE_HZ)
    mix[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return limited(mix, g)

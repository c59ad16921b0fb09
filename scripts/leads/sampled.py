"""A performance by FluidSynth: notes, a pitch wheel over an octave, expression."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np

from bands.sound import RATE_HZ, Floats
from leads.performance import CONTROL_HZ, Performance
from viso.audio import read

__all__ = ["midi_of", "play_sampled"]

_TICKS_PER_S = 960
_WHEEL_ST = 12
_EVERY = 5  # control points a wheel message
_CHANNELS = (0, 1, 2)


def midi_of(performance: Performance, *, program: int, bank: int, decays: bool) -> mido.MidiFile:
    """Return a performance as a MIDI file.

    Notes take turns on three channels, so that a note that rings on keeps its pitch while the
    next one bends. Tied notes are one key that the wheel carries on.
    """
    file = mido.MidiFile(ticks_per_beat=480)  # 120 beats a minute
    track = mido.MidiTrack()
    file.tracks.append(track)
    events: list[tuple[int, int, str, int, dict[str, int]]] = []

    def put(tick: int, order: int, kind: str, channel: int, **of: int) -> None:
        events.append((max(0, tick), order, kind, channel, of))

    for channel in _CHANNELS:
        put(0, -3, "control_change", channel, control=0, value=bank)
        put(0, -2, "program_change", channel, program=program)
        for control, value in ((101, 0), (100, 0), (6, _WHEEL_ST), (38, 0)):
            put(0, -1, "control_change", channel, control=control, value=value)
    for turn, group in enumerate(_keys(performance)):
        channel = _CHANNELS[turn % len(_CHANNELS)]
        key, first, last = group[0].pitch, group[0].on_s, group[-1].off_s
        velocity = group[0].velocity
        on, off = round(first * _TICKS_PER_S), round(last * _TICKS_PER_S)
        a, b = round(first * CONTROL_HZ), min(len(performance.pitch), round(last * CONTROL_HZ) + 20)
        was_wheel = was_loud = None
        for k in range(a, b, _EVERY):
            tick = round(k / CONTROL_HZ * _TICKS_PER_S)
            bend = (performance.pitch[k] - key) / _WHEEL_ST * 8191
            wheel = int(np.clip(bend, -8191, 8191))
            loud = int(np.clip(127 * np.sqrt(performance.loudness[k]), 0, 127))
            if wheel != was_wheel:
                put(tick, 1, "pitchwheel", channel, pitch=wheel)
            if not decays and loud != was_loud:
                put(tick, 1, "control_change", channel, control=11, value=max(loud, 1))
            was_wheel, was_loud = wheel, loud
        put(on, 2, "note_on", channel, note=key, velocity=velocity)
        put(max(off, on + 5), 0, "note_off", channel, note=key, velocity=0)
    now = 0
    for tick, _, kind, channel, of in sorted(events, key=lambda event: event[:2]):
        of |= {"channel": channel, "time": tick - now}
        track.append(mido.Message(kind, skip_checks=True, **of))
        now = tick
    return file


def _keys(performance: Performance) -> list[list]:
    """Put tied notes together, as long as the wheel reaches them."""
    groups: list[list] = []
    for note in performance.notes:
        if note.tied and groups and abs(note.pitch - groups[-1][0].pitch) < _WHEEL_ST - 3:
            groups[-1].append(note)
        else:
            groups.append([note])
    return groups


def play_sampled(
    performance: Performance,
    soundfont: Path,
    *,
    program: int,
    bank: int = 0,
    decays: bool = False,
    wet: bool = False,
) -> Floats:
    """Let FluidSynth play a performance.

    Returns
    -------
    float32 array [shape=(2, n)]
        At 44.1 kHz, as long as the performance.

    Raises
    ------
    subprocess.CalledProcessError
        If FluidSynth fails.
    """
    switch = str(int(wet))
    with tempfile.TemporaryDirectory() as folder:
        song, sound = Path(folder) / "lead.mid", Path(folder) / "lead.wav"
        midi_of(performance, program=program, bank=bank, decays=decays).save(song)
        command = [
            "fluidsynth", "-n", "-i", "-q", "-g", "0.4", "-r", str(RATE_HZ),
            "-o", "synth.dynamic-sample-loading=1", "-o", "synth.midi-bank-select=gs",
            "-o", f"synth.reverb.active={switch}", "-o", f"synth.chorus.active={switch}",
            "-z", "4096", "-O", "float", "-T", "wav", "-F", str(sound), str(soundfont), str(song),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        audio, _ = read(sound)
    n = round(performance.length_s * RATE_HZ)
    whole = np.zeros((2, n), np.float32)
    whole[:, : min(n, audio.shape[1])] = audio[:, :n]
    return whole

"""A score as sound: a General MIDI synthesiser, a guitar amplifier and a mixing desk."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np
import numpy.typing as npt
from scipy import signal

from bands.score import Part, Score
from viso.audio import read

__all__ = ["RATE_HZ", "amplified", "limited", "mixed", "played", "summed"]

RATE_HZ = 44_100
_TICKS = 480
_MUTED_GUITAR = 28
Floats = npt.NDArray[np.float32]


def midi_of(part: Part, score: Score, g: np.random.Generator) -> mido.MidiFile:
    """Return a part as a MIDI file, its notes a little early or late as people play them."""
    file = mido.MidiFile(ticks_per_beat=_TICKS)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(score.tempo_bpm)))
    channel = 9 if part.program is None else 0
    if part.program is not None:
        track.append(mido.Message("program_change", channel=0, program=part.program))
        track.append(mido.Message("program_change", channel=1, program=_MUTED_GUITAR))
    events: list[tuple[int, int, mido.Message]] = []
    spread = float(g.uniform(0.001, 0.012)) * score.tempo_bpm / 60
    for note in part.notes:
        on = max(0, round((note.beat + g.normal(0, spread)) * _TICKS))
        off = on + max(10, round(note.length * _TICKS))
        where = 1 if note.muted and channel == 0 else channel
        said = {"channel": where, "note": int(np.clip(note.pitch, 0, 127))}
        events.append((on, 1, mido.Message("note_on", velocity=note.velocity, **said)))
        events.append((off, 0, mido.Message("note_off", velocity=0, **said)))
        if part.bends and note.length >= 1:
            events += _vibrato(on, off, where, g)
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return file


def _vibrato(
    on: int, off: int, channel: int, g: np.random.Generator
) -> list[tuple[int, int, mido.Message]]:
    """Slide into a note and let it swing, as a voice would; the wheel goes over two semitones."""
    start, depth = float(g.choice([0.0, 0.0, -0.5, -1.0])), float(g.uniform(0.1, 0.5))
    ticks = np.arange(on, off, _TICKS // 16)
    along = (ticks - on) / _TICKS
    semitones = start * np.exp(-along / 0.12) + depth * np.minimum(along, 1) * np.sin(
        2 * np.pi * float(g.uniform(2, 4)) * along
    )
    wheel = np.clip(semitones / 2 * 8191, -8191, 8191).astype(int)
    bends = [
        (int(t), 1, mido.Message("pitchwheel", channel=channel, pitch=int(p)))
        for t, p in zip(ticks, wheel, strict=True)
    ]
    return [*bends, (off, 2, mido.Message("pitchwheel", channel=channel, pitch=0))]


def played(
    part: Part, score: Score, soundfont: Path, g: np.random.Generator, block: int = 64
) -> Floats:
    """Let FluidSynth play a part, `block` samples at a time; large ones are faster.

    Returns
    -------
    float32 array [shape=(2, n)]
        At `RATE_HZ`, its loudest sample 1.

    Raises
    ------
    subprocess.CalledProcessError
        If FluidSynth fails.
    FileNotFoundError
        If it is not installed.
    """
    wet = "1" if not part.amp and g.random() < 0.6 else "0"
    with tempfile.TemporaryDirectory() as folder:
        song, sound = Path(folder) / "part.mid", Path(folder) / "part.wav"
        midi_of(part, score, g).save(song)
        command = [
            "fluidsynth", "-n", "-i", "-q", "-g", "0.3", "-r", str(RATE_HZ),
            "-o", "synth.dynamic-sample-loading=1",
            "-o", f"synth.reverb.active={wet}", "-o", f"synth.chorus.active={wet}",
            "-z", str(block), "-O", "float", "-T", "wav", "-F", str(sound),
            str(soundfont), str(song),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        audio, _ = read(sound)
    return audio / max(1e-6, float(np.abs(audio).max()))


def amplified(dry: Floats, g: np.random.Generator) -> Floats:
    """Play a guitar through an amplifier: tone, overdrive, loudspeaker.

    Parameters
    ----------
    dry : float32 array [shape=(n,)]
        A clean guitar.

    Returns
    -------
    float32 array [shape=(n,)]
        Its loudest sample 1.
    """
    tight = signal.butter(1, float(g.uniform(80, 400)), "high", fs=RATE_HZ, output="sos")
    tone = signal.sosfilt(tight, dry)
    fine = signal.resample_poly(tone, 4, 1)  # overdrive makes frequencies that would fold back
    drive = 10 ** (float(g.uniform(15, 45)) / 20)
    bias = float(g.uniform(0, 0.3))
    loud = np.tanh(drive * fine / max(1e-6, float(np.abs(fine).max())) + bias)
    coarse = signal.resample_poly(loud, 1, 4)[: len(dry)]
    for order, corner, kind in (
        (2, float(g.uniform(60, 120)), "high"), (4, float(g.uniform(3500, 7000)), "low"),
    ):  # fmt: skip
        coarse = signal.sosfilt(
            signal.butter(order, corner, kind, fs=RATE_HZ, output="sos"), coarse
        )
    presence = signal.iirpeak(float(g.uniform(1800, 3500)), 1.0, fs=RATE_HZ)
    coarse = coarse + float(g.uniform(0, 1.5)) * signal.lfilter(*presence, coarse)
    hollow = signal.iirpeak(float(g.uniform(350, 800)), 1.0, fs=RATE_HZ)
    coarse = coarse - float(g.uniform(0, 0.7)) * signal.lfilter(*hollow, coarse)
    result: Floats = (coarse / max(1e-6, float(np.abs(coarse).max()))).astype(np.float32)
    return result


_LEVEL_DB = {
    "drums": 0.0,
    "bass": -2.0,
    "guitar": -4.0,
    "arpeggio": -9.0,
    "keys": -9.0,
    "lead": -6.0,
    "drone": -6.0,
    "hands": -4.0,
}


def mixed(score: Score, soundfont: Path, g: np.random.Generator) -> Floats:
    """Play all parts and mix them to a record.

    Returns
    -------
    float32 array [shape=(2, n)]
        At `RATE_HZ`; its loudest sample is 0.9.
    """
    return limited(summed(score, soundfont, g), g)


def summed(score: Score, soundfont: Path, g: np.random.Generator, *, block: int = 64) -> Floats:
    """Play all parts and add them up at the levels of their roles, [shape=(2, n)]."""
    n = round((score.n_beats * 60 / score.tempo_bpm + 2) * RATE_HZ)
    whole = np.zeros((2, n), np.float32)
    for part in score.parts:
        audio = played(part, score, soundfont, g, block)
        if part.amp:
            audio = _through_amplifiers(part, audio, score, soundfont, g, block)
        elif part.program is not None:
            audio = _placed(audio, float(g.uniform(-0.5, 0.5)) * (part.role != "bass"))
        rms = float(np.sqrt(np.mean(np.square(audio)))) + 1e-9
        level = 10 ** ((_LEVEL_DB[part.role] + float(g.normal(0, 3))) / 20)
        length = min(n, audio.shape[1])
        whole[:, :length] += audio[:, :length] * (0.1 * level / rms)
    return whole


def limited(whole: Floats, g: np.random.Generator) -> Floats:
    """Push a mix, gently or hard, into a record's limiter; its loudest sample is 0.9."""
    push = 10 ** (float(g.uniform(-4, 10)) / 20)
    whole = np.tanh(push * whole / (4 * float(np.sqrt(np.mean(whole**2))) + 1e-9))
    return np.asarray(0.9 * whole / max(1e-6, float(np.abs(whole).max())), np.float32)


def _through_amplifiers(
    part: Part, audio: Floats, score: Score, soundfont: Path, g: np.random.Generator, block: int
) -> Floats:
    """Rhythm guitars are played twice, one on either side; the others once."""
    first = amplified(audio.mean(axis=0), g)
    if part.role != "guitar" or g.random() < 0.2:
        return _placed(np.stack([first, first]), float(g.uniform(-0.3, 0.3)))
    again = amplified(played(part, score, soundfont, g, block).mean(axis=0), g)
    length = min(len(first), len(again))
    aside = float(g.uniform(0, 0.3))
    left, right = first[:length], again[:length]
    return np.stack([left + aside * right, right + aside * left])


def _placed(audio: Floats, where: float) -> Floats:
    """Pan stereo by a factor of at most 1 for the other side."""
    return audio * np.array([[min(1, 1 - where)], [min(1, 1 + where)]], np.float32)

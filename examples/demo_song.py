"""A demo song of our own making: a sung melody over a small band, synthesised with numpy.

Run ``python examples/demo_song.py [FOLDER]`` and the folder holds ``mixture.flac``,
``vocals.flac`` and ``instrumental.flac``; the mixture is the exact sum of the other two.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.audio import write
from viso.dsp.stft import SpectralConfig, istft, stft
from viso.errors import ConfigError

Signal = npt.NDArray[np.float64]
Stem = npt.NDArray[np.float32]

BEAT_S = 0.5
LOOP_BEATS = 32
VOICE_GAIN = 0.26
CONTROL_HZ = 400
"""Rate of everything that moves slowly in the voice: pitch, loudness, formants."""

HIGH_FORMANTS_HZ = (3850.0, 4950.0, 6000.0, 7300.0, 8800.0, 10_500.0)
BANDWIDTHS_HZ = np.array([90.0, 110.0, 150.0, 220.0, 300.0, 420.0, 560.0, 750.0, 1000.0])
VOWELS_HZ = {
    "a": (850.0, 1300.0, 2800.0),
    "e": (520.0, 2100.0, 2850.0),
    "i": (330.0, 2650.0, 3250.0),
    "o": (500.0, 900.0, 2750.0),
    "u": (360.0, 980.0, 2600.0),
}


class Consonant(NamedTuple):
    """What the mouth does before a vowel."""

    length_s: float
    voicing: float  # how loud the voice goes on meanwhile, 1 = as in the vowel
    locus_hz: tuple[float, float, float]  # where the formants come from
    noise_hz: float = 0.0
    noise_octaves: float = 1.0
    noise_gain: float = 0.0
    is_plosive: bool = False


CONSONANTS = {
    "s": Consonant(0.13, 0.0, (320, 1700, 2700), 7800, 0.45, 0.50),
    "S": Consonant(0.13, 0.0, (320, 1900, 2600), 3600, 0.50, 0.50),
    "f": Consonant(0.10, 0.0, (330, 1100, 2500), 5500, 0.90, 0.14),
    "t": Consonant(0.07, 0.0, (330, 1800, 2800), 4800, 0.80, 0.70, True),
    "k": Consonant(0.08, 0.0, (320, 2000, 2400), 2300, 0.60, 0.55, True),
    "d": Consonant(0.05, 0.1, (300, 1800, 2800), 4200, 0.90, 0.25, True),
    "m": Consonant(0.09, 0.4, (260, 1050, 2300)),
    "n": Consonant(0.08, 0.4, (270, 1650, 2600)),
    "l": Consonant(0.08, 0.5, (380, 1250, 2900)),
    "r": Consonant(0.08, 0.5, (420, 1300, 1750)),
    "y": Consonant(0.08, 0.6, (290, 2500, 3100)),
}


# Am F C G, twice; a bar has four beats. Each entry: syllable, MIDI note, beats; "--" is a rest.
MELODY = """
    -- 0 2     so 64 .5  li 67 .5  ta 69 1    ra 72 1.5  ne 71 .5  ki 69 .5  lo 67 .5  ma 64 2
    -- 0 2     fe 62 .5  la 64 .5  Si 67 1.5  no 69 .5   ta 71 .75 yu 69 .25 re 67 1   sa 69 2
    -- 0 1.5   di 69 .5  la 72 1   mo 69 .5   ti 67 .5   fa 69 1   ne 72 .5  su 74 .5  ya 76 2
    lo 74 .5   ki 72 .5  re 71 1   na 67 2.25 -- 0 1.75
"""
CHORDS = ((57, 60, 64, 69), (57, 60, 65, 69), (55, 60, 64, 67), (55, 59, 62, 67))
ROOTS = (45, 41, 36, 43)
BELLS = {9.5: 76, 10: 79, 10.5: 84, 18: 81, 18.5: 84, 19: 88, 30.5: 83, 31: 79}


class Note(NamedTuple):
    """One sung syllable; beats count from the song's start."""

    beat: float
    beats: float
    midi: int
    syllable: str


class Contours(NamedTuple):
    """How a voice moves, `CONTROL_HZ` values a second."""

    pitch_hz: Signal
    level: Signal
    breath: Signal
    formants_hz: Signal  # (formants, points)


def hertz(midi: npt.ArrayLike) -> Signal:
    """Return the frequency of MIDI note numbers in Hz."""
    return np.asarray(440.0 * 2.0 ** ((np.asarray(midi) - 69.0) / 12.0))


def smooth(values: Signal, *, length_s: float) -> Signal:
    """Average a contour with a Hann window `length_s` seconds long."""
    n = 2 * round(length_s * CONTROL_HZ / 2) + 1
    window = np.hanning(n + 2)[1:-1]
    return np.convolve(np.pad(values, n // 2, mode="edge"), window / window.sum(), mode="valid")


def sung_notes(duration_s: float) -> Iterator[Note]:
    """Yield the melody, again and again, as long as its notes begin within the song."""
    words = MELODY.split()
    score = zip(words[::3], words[1::3], words[2::3], strict=True)
    beat = 0.0
    for syllable, midi, beats in itertools.cycle(score):
        if beat * BEAT_S >= duration_s:
            return
        if syllable != "--":
            yield Note(beat, float(beats), int(midi), syllable)
        beat += float(beats)


def contours(duration_s: float, *, rng: np.random.Generator) -> Contours:
    """Turn the melody into the movements of a singer."""
    m = math.ceil(duration_s * CONTROL_HZ) + 2
    time = np.arange(m) / CONTROL_HZ
    midi, level, breath, vibrato = np.full(m, 62.0), np.zeros(m), np.zeros(m), np.zeros(m)
    mouth = np.tile(np.array(VOWELS_HZ["a"])[:, None], m)
    sung_until = 0.0
    for note in sung_notes(duration_s):
        consonant, vowel = CONSONANTS[note.syllable[0]], VOWELS_HZ[note.syllable[1]]
        start, end = note.beat * BEAT_S, (note.beat + note.beats) * BEAT_S
        onset = start - consonant.length_s
        if onset > sung_until:  # A phrase begins: breathe in, then scoop up from below.
            midi[(time >= sung_until + 0.1) & (time < start)] = note.midi - 2.0
            breath[(time > onset - 0.30) & (time < onset - 0.06)] = 0.10
        before, during = (time >= onset) & (time < start), (time >= start) & (time < end)
        age_s = time[during] - start
        midi[during] = note.midi
        level[before] = consonant.voicing
        # Long notes swell a little and fade; notes on the beat are sung louder.
        swell = np.sin(np.pi * age_s / (end - start)) ** 2
        level[during] = (0.80 + 0.15 * swell) * (1.0 if note.beat % 1 == 0 else 0.85)
        mouth[:, before] = np.array(consonant.locus_hz)[:, None]
        mouth[:, during] = np.array(vowel)[:, None]
        vibrato[during] = np.clip((age_s - 0.18) / 0.35, 0, 1) * (note.beats >= 1)
        sung_until = end
    pitch_hz = hertz(smooth(midi, length_s=0.10) + unsteadiness(vibrato, rng=rng))
    lips = np.stack([smooth(track, length_s=0.09) for track in mouth])
    # Singers raise the first formant to the note when the note lies above it.
    lips[0] = np.maximum(lips[0], 1.08 * pitch_hz)
    lips[1] = np.maximum(lips[1], 1.25 * lips[0])
    high = np.tile(np.array(HIGH_FORMANTS_HZ)[:, None], m)
    shimmer = 1 + 0.1 * smooth(rng.standard_normal(m), length_s=0.03)
    voiced = smooth(level, length_s=0.045) * shimmer
    return Contours(pitch_hz, voiced, smooth(breath, length_s=0.1), np.concatenate([lips, high]))


def unsteadiness(vibrato: Signal, *, rng: np.random.Generator) -> Signal:
    """Return vibrato, slow drift and jitter in semitones [shape=(points,)]."""
    speed, drift, jitter = rng.standard_normal((3, len(vibrato)))
    phase = 2 * np.pi * np.cumsum(5.5 + 2.8 * smooth(speed, length_s=0.6)) / CONTROL_HZ
    return np.asarray(
        0.38 * smooth(vibrato, length_s=0.12) * np.sin(phase)
        + 0.8 * smooth(drift, length_s=0.35)
        + 0.045 * smooth(jitter, length_s=0.008)
    )


def tract(frequency_hz: Signal, formants_hz: Signal) -> npt.NDArray[np.complex128]:
    """Return a vocal tract's response: resonances one after another, 1 at 0 Hz.

    `frequency_hz` broadcasts against each of `formants_hz` [shape=(formants, points)].
    """
    gain = np.ones(np.broadcast_shapes(frequency_hz.shape, formants_hz.shape[1:]), np.complex128)
    s = 1j * frequency_hz
    for centre, width in zip(formants_hz, BANDWIDTHS_HZ, strict=True):
        pole = -width / 2 + 1j * centre
        gain *= (pole * pole.conj()) / ((s - pole) * (s - pole.conj()))
    # The countless resonances above, and the engineer, lift the treble.
    return gain * (1 + (frequency_hz / 2800) ** 2) ** 1.5 / (1 + (frequency_hz / 12_000) ** 2)


def harmonics(voice: Contours, *, n: int, rate_hz: int) -> tuple[Signal, Signal]:
    """Sing the voiced part: every harmonic of the pitch through the moving vocal tract.

    Returns
    -------
    sound : float64 array [shape=(n,)]
    pulse : float64 array [shape=(n,), 0 to 1]
        How open the vocal folds are; breath streams while they are.
    """
    time = np.arange(n) / rate_hz
    slow = np.arange(len(voice.level)) / CONTROL_HZ
    phase = 2 * np.pi * np.cumsum(np.interp(time, slow, voice.pitch_hz)) / rate_hz
    turn = np.exp(1j * phase)
    limit_hz = min(15_000.0, 0.46 * rate_hz)
    number = np.arange(1, 1 + int(limit_hz / voice.pitch_hz.min()))[:, None]
    frequency_hz = number * voice.pitch_hz
    # The folds close more sharply, and sound brighter, when the voice is loud.
    gains = tract(frequency_hz, voice.formants_hz) * number ** (-1.35 + 0.45 * voice.level)
    gains *= np.clip((limit_hz - frequency_hz) / 1000, 0, 1)
    # A compressor evens out how differently strong the vowels are.
    gains *= voice.level / np.sqrt((np.abs(gains) ** 2).sum(axis=0)) ** 0.8
    sound, power = np.zeros(n), turn.copy()
    for gain in gains:
        sound += np.interp(time, slow, gain.real) * power.real
        sound -= np.interp(time, slow, gain.imag) * power.imag
        power *= turn
    return sound, 0.5 + 0.5 * np.cos(phase)


def aspiration(voice: Contours, pulse: Signal, *, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Blow noise through the same vocal tract, in step with the vocal folds [shape=(n,)]."""
    n_fft = 2 ** round(math.log2(0.02 * rate_hz))
    config = SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=n_fft // 4)
    slow = np.arange(len(voice.level)) / CONTROL_HZ
    time = np.arange(len(pulse)) / rate_hz
    strength = np.interp(time, slow, voice.breath + 0.045 * voice.level) * (0.3 + pulse)
    noise = (rng.standard_normal(len(pulse)) * strength).astype(np.float32)
    frames = stft(noise[None], config=config)
    now = np.arange(frames.shape[2]) * config.hop / rate_hz
    formants_hz = np.stack([np.interp(now, slow, track) for track in voice.formants_hz])
    frequency_hz = np.linspace(0, rate_hz / 2, config.n_bins)[:, None]
    gain = np.abs(tract(frequency_hz, formants_hz)) * np.minimum(1, frequency_hz / 1500)
    gain /= np.sqrt((gain**2).mean(axis=0))
    shaped = istft(frames * gain.astype(np.float32), config=config, n_samples=len(pulse))
    return np.asarray(shaped[0], np.float64)


class Track:
    """A stereo track on the desk: sounds are placed on it, then it is put into a room."""

    def __init__(self, n: int, *, rate_hz: int, rng: np.random.Generator) -> None:
        self.sound = np.zeros((2, n))
        self.rate_hz, self.rng = rate_hz, rng

    def time(self, length_s: float) -> Signal:
        """Return the instants of a sound in seconds."""
        return np.arange(round(length_s * self.rate_hz)) / self.rate_hz

    def place(self, sound: Signal, start_s: float, *, pan: float = 0.0) -> None:
        """Add a mono sound; `pan` runs from -1, left, to 1. What hangs over the end is lost."""
        start = round(start_s * self.rate_hz)
        angle = (pan + 1) * np.pi / 4
        room = self.sound[:, start : start + len(sound)]
        room += np.array([[math.cos(angle)], [math.sin(angle)]]) * sound[: room.shape[1]]

    def hiss(self, length_s: float, centre_hz: float, octaves: float) -> Signal:
        """Return noise of RMS 1 around a frequency."""
        n = len(self.time(length_s))
        spectrum = np.fft.rfft(self.rng.standard_normal(n))
        frequency_hz = np.maximum(1, np.fft.rfftfreq(n, 1 / self.rate_hz))
        # A centre above what the rate can carry moves down, so that low rates keep their hiss.
        distance = np.log2(frequency_hz / min(centre_hz, 0.4 * self.rate_hz)) / octaves
        noise = np.fft.irfft(spectrum * np.exp(-(distance**2)), n=n)
        return np.asarray(noise / np.sqrt((noise**2).mean()))

    def in_room(self, length_s: float, *, wet: float) -> Signal:
        """Return the track with an echo that has decayed by 60 dB after `length_s`."""
        time, n = self.time(length_s), self.sound.shape[1]
        echoes = self.rng.standard_normal((2, len(time))) * 10 ** (-3 * time / length_s)
        echoes[:, time < 0.012] = 0
        n_fft = 2 ** math.ceil(math.log2(n + len(time)))
        # Walls swallow the treble, and a desk keeps the bass out of the room.
        frequency_hz = np.fft.rfftfreq(n_fft, 1 / self.rate_hz)
        response = np.fft.rfft(echoes, n_fft) / np.sqrt((echoes**2).sum(axis=1, keepdims=True))
        response *= np.minimum(1, frequency_hz / 300) / (1 + (frequency_hz / 5000) ** 2)
        echo = np.fft.irfft(np.fft.rfft(self.sound, n_fft) * response, n_fft)[:, :n]
        return np.asarray(self.sound + wet * echo)


def sing(track: Track, *, duration_s: float) -> None:
    """Record the lead voice."""
    voice = contours(duration_s, rng=track.rng)
    voiced, pulse = harmonics(voice, n=track.sound.shape[1], rate_hz=track.rate_hz)
    track.place(voiced, 0)
    track.place(aspiration(voice, pulse, rate_hz=track.rate_hz, rng=track.rng), 0)
    for note in sung_notes(duration_s):
        mouth = CONSONANTS[note.syllable[0]]
        if mouth.noise_gain:
            hiss = track.hiss(mouth.length_s + 0.02, mouth.noise_hz, mouth.noise_octaves)
            # Plosives hold the air back and let it burst; fricatives swell and end.
            x = np.linspace(0, 1, len(hiss)) - 0.6
            burst = np.exp(-14 * np.maximum(0, x) - 400 * np.minimum(0, x) ** 2)
            swell = np.sin(np.pi * (x + 0.6)) ** 0.7
            hiss *= 0.3 * mouth.noise_gain * (burst if mouth.is_plosive else swell)
            track.place(hiss, note.beat * BEAT_S - mouth.length_s)


def string(midi: int, time: Signal, *, slope: float, decay_s: float, parts: int) -> Signal:
    """Return a plucked string: partial k has level ``k**-slope`` and dies ``k`` times faster."""
    sound = np.zeros_like(time)
    for k in range(1, parts + 1):
        frequency_hz = hertz(midi) * k * math.sqrt(1 + 0.0002 * k * k)
        if frequency_hz < 0.45 / time[1]:
            # Plucked near a fifth of its length, a string lacks every fifth partial.
            level = abs(math.sin(math.pi * k / 5.3)) * k**-slope
            decay = np.exp(-time * (0.6 + 0.4 * k) / decay_s)
            sound += level * decay * np.sin(2 * np.pi * frequency_hz * time + k)
    return np.asarray(sound * np.clip(time / 0.003, 0, 1) * np.clip((time[-1] - time) / 0.03, 0, 1))


def organ(midi: int, time: Signal) -> Signal:
    """Return a held organ note behind a turning loudspeaker."""
    turning = np.sin(2 * np.pi * 5.9 * time + midi)
    angle = 2 * np.pi * hertz(midi) * time + 0.25 * turning
    sound = np.zeros_like(time)
    for k, level in ((1, 1.0), (2, 0.7), (3, 0.5), (4, 0.35), (6, 0.2), (8, 0.15), (12, 0.06)):
        if hertz(midi) * k < 0.45 / time[1]:
            sound += level * np.sin(k * angle + k * k)
    edges = np.clip(time / 0.02, 0, 1) * np.clip((time[-1] - time) / 0.04, 0, 1)
    return np.asarray(sound * (1 + 0.25 * turning) * edges)


def drum(track: Track, *, duration_s: float) -> None:
    """Record kick, snare, hats, and a crash where the song comes round."""
    time, long = track.time(0.5), track.time(2.5)
    sweep = 2 * np.pi * np.cumsum(48 + 110 * np.exp(-time / 0.03)) / track.rate_hz
    kick = np.sin(sweep) * np.exp(-time / 0.11)
    kick += 0.15 * track.hiss(0.5, 3500, 1) * np.exp(-time / 0.004)
    skin = np.sin(2 * np.pi * 188 * time) + 0.6 * np.sin(2 * np.pi * 331 * time)
    for eighth in range(math.ceil(duration_s / BEAT_S * 2)):
        start_s, step, place = eighth * BEAT_S / 2, eighth % 8, eighth % (2 * LOOP_BEATS)
        if step in (0, 3, 4) and place < 62:
            track.place((0.6 if step == 3 else 0.9) * kick, start_s)
        if step in (2, 6) or place in (61, 63):
            wires = 0.17 * track.hiss(0.5, 3500, 1.3) * np.exp(-time / 0.085)
            track.place(0.35 * skin * np.exp(-time / 0.06) + wires, start_s, pan=-0.05)
        hat = track.hiss(0.5, 11_000, 0.5) * np.exp(-time / (0.16 if step == 7 else 0.028))
        late_s = 0.004 * track.rng.random()
        track.place((0.06 if step % 2 else 0.09) * hat, start_s + late_s, pan=0.35)
        if place == 0:
            crash = track.hiss(2.5, 7000, 1.0) * np.exp(-long / 0.6)
            track.place(0.09 * crash, start_s, pan=-0.4)


def accompany(track: Track, *, duration_s: float) -> None:
    """Record bass, guitar on the left, organ on the right, and bells where the voice rests."""
    short, long, longer = track.time(0.48), track.time(0.9), track.time(1.6)
    guitar = {m: string(m, long, slope=0.9, decay_s=0.7, parts=24) for c in CHORDS for m in c}
    bass = {m: string(m, short, slope=1.1, decay_s=0.9, parts=12) for m in ROOTS}
    bell = {m: string(m, longer, slope=1.6, decay_s=0.6, parts=6) for m in BELLS.values()}
    for eighth in range(math.ceil(duration_s / BEAT_S * 2)):
        start_s, bar, step = eighth * BEAT_S / 2, eighth // 8 % 4, eighth % 8
        if step not in (1, 5):
            track.place((0.5 if step == 0 else 0.42) * bass[ROOTS[bar]], start_s)
        if step in (0, 3, 5, 6):
            # Down strokes start at the lowest string, up strokes at the highest.
            for i, midi in enumerate(CHORDS[bar][:: 1 - 2 * (step % 2)]):
                track.place(0.17 * guitar[midi], start_s + 0.011 * i, pan=-0.7)
        if step == 0:
            for midi in (CHORDS[bar][1] + 12, *CHORDS[bar][2:]):
                track.place(0.055 * organ(midi, track.time(4 * BEAT_S)), start_s, pan=0.75)
        if midi := BELLS.get(eighth / 2 % LOOP_BEATS, 0):
            track.place(0.2 * bell[midi], start_s, pan=-0.35)


def synthesise(
    duration_s: float = 16.0, *, rate_hz: int = 44_100, seed: int = 1
) -> dict[str, Stem]:
    """Make the song.

    Parameters
    ----------
    duration_s : float
        Length in seconds, 1 or more. The melody comes round every 16 s.
    rate_hz : int
        Sampling rate in Hz, 4,000 or more.
    seed : int
        Chooses the noises and the small irregularities of the voice.

    Returns
    -------
    dict of float32 arrays [shape=(2, round(duration_s * rate_hz)), full scale = 1.0]
        ``"mixture"``, ``"vocals"`` and ``"instrumental"``; the first is the sum of the others
        to the last bit, also when written with 24 bits.

    Raises
    ------
    ConfigError
        If the song would be too short or the rate too low.

    Examples
    --------
    >>> song = synthesise(1.0, rate_hz=8000)
    >>> song["mixture"].shape
    (2, 8000)
    """
    if not 1 <= duration_s < math.inf:
        raise ConfigError(f"duration_s: {duration_s} is too short or no number; use 1.0 or more")
    if rate_hz < 4000:
        raise ConfigError(f"rate_hz: {rate_hz} Hz carries no voice; use 4000 or more")
    n = round(duration_s * rate_hz)
    lead, band = (
        Track(n, rate_hz=rate_hz, rng=np.random.default_rng([seed, part])) for part in range(2)
    )
    sing(lead, duration_s=duration_s)
    drum(band, duration_s=duration_s)
    accompany(band, duration_s=duration_s)
    vocals = VOICE_GAIN * lead.in_room(0.9, wet=0.22)
    backing = np.tanh(band.in_room(1.1, wet=0.12))
    # The last tenth of a second fades, so that a cut anywhere ends without a click.
    fade = np.clip((n - np.arange(n)) / (0.1 * rate_hz), 0, 1)
    gain = 0.9 / np.abs((vocals + backing) * fade).max()
    # Multiples of one 24-bit step add up without rounding, in float32 and in a file alike.
    stems = [np.rint(gain * fade * part * 2**23) / 2**23 for part in (vocals, backing)]
    voice, rest = (stem.astype(np.float32) for stem in stems)
    return {"mixture": voice + rest, "vocals": voice, "instrumental": rest}


def main() -> None:
    """Write the song's three files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    rate_hz = 44_100
    for name, stem in synthesise(rate_hz=rate_hz).items():
        path = folder / f"{name}.flac"
        write(path, stem, rate_hz=rate_hz)
        print(path)


if __name__ == "__main__":
    main()

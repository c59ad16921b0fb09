"""Copies are found whatever was done to them; other recordings are not taken for copies."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from viso.audio import Resampler
from viso.train.data.lint.duplicates import Duplicates, matched_s
from viso.train.data.lint.fingerprint import FRAMES_A_SECOND, fingerprint
from viso.train.data.lint.sound import CheckedSong, Part, Stem

RATE_HZ = 16_000


def music(seed, seconds=10, *, rate_hz=RATE_HZ, n_channels=1):
    """Random notes of a scale with decays, over a little noise; peak 0.5."""
    rng = np.random.default_rng(seed)
    sound = 0.01 * rng.standard_normal((n_channels, int(seconds * rate_hz)))
    for _ in range(int(seconds * 8)):
        start, pitch = rng.integers(0, sound.shape[1]), 110 * 2 ** (rng.integers(0, 36) / 12)
        t = np.arange(min(sound.shape[1] - start, rate_hz)) / rate_hz
        note = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 6))
        sound[:, start : start + t.size] += note * np.exp(-4 * t) * rng.uniform(0.2, 1)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def coded(audio, *, quality):
    """Through Ogg Vorbis and back (quality: 0 worst to 1 best)."""
    file = io.BytesIO()
    soundfile.write(
        file, audio.T, RATE_HZ, format="OGG", subtype="VORBIS", compression_level=1 - quality
    )
    file.seek(0)
    return soundfile.read(file, dtype="float32", always_2d=True)[0].T


def song(name, audio, *, split="train", role="instrumental", rate_hz=RATE_HZ):
    stem = Stem(role, (Part(name, audio, rate_hz),))
    return CheckedSong(name=name, group="g", split=split, rate_hz=rate_hz, stems=(stem,))


def found_in(*songs):
    duplicates = Duplicates()
    for each in songs:
        duplicates.add(each)
    return duplicates.findings()


CHANGES = {
    "level": lambda x: x * np.float32(0.01),
    "polarity": lambda x: -x,
    "shift": lambda x: x[:, 7777:],
    "excerpt": lambda x: x[:, 2 * RATE_HZ : 8 * RATE_HZ],
    "coding": lambda x: coded(x, quality=0.1),
    "stereo": lambda x: np.concatenate([x, x]),
    "all": lambda x: coded(np.float32(0.1) * x[:, 12_345:], quality=0.2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_in_the_other_split_is_a_fault(change):
    copy = CHANGES[change](music(1))
    (finding,) = found_in(song("a", music(1)), song("b", music(2)), song("c", copy, split="valid"))
    assert (finding.severity, finding.check) == ("fault", "duplicate")
    assert (finding.song, finding.role) == ("c", "instrumental")
    assert "training split" in finding.message
    assert ": a;" in finding.message


def test_a_copy_at_another_rate():
    original = music(3, rate_hz=44_100, n_channels=2)
    copy = Resampler(2, from_hz=44_100, to_hz=RATE_HZ).process(original, last=True)
    (finding,) = found_in(song("a", original, rate_hz=44_100), song("b", copy, split="valid"))
    assert (finding.severity, finding.song) == ("fault", "b")


def test_other_songs_are_no_copies():
    assert (
        found_in(*(song(f"{k}", music(k), split=("train", "valid")[k % 2]) for k in range(12)))
        == []
    )


def test_stems_of_one_song_are_not_compared():
    stems = tuple(Stem(r, (Part(r, music(1), RATE_HZ),)) for r in ("vocals", "instrumental"))
    assert found_in(CheckedSong("a", "g", "train", RATE_HZ, stems)) == []


def test_one_song_many_times_is_one_note():
    copies = [song(f"copy {k}", music(1) * np.float32(1 / (k + 1))) for k in range(30)]
    (finding,) = found_in(*copies, song("unlike", music(2)))
    assert finding.severity == "note"
    assert "30 stems share the same sound" in finding.message
    assert "unlike" not in finding.message


def test_short_clips_are_compared_sample_for_sample():
    clip = music(1, seconds=1)
    (finding,) = found_in(song("a", clip), song("b", clip.copy(), split="valid"))
    assert finding.severity == "fault"
    assert "sample for sample" in finding.message
    assert found_in(song("a", clip), song("b", music(2, seconds=1), split="valid")) == []


@pytest.mark.parametrize("seconds", [0, 0.1, 0.4])
def test_hardly_any_sound_has_no_fingerprint(seconds):
    assert fingerprint(music(1, seconds=2)[:, : int(seconds * RATE_HZ)], rate_hz=RATE_HZ).size < 3
    silence = np.zeros((1, int(seconds * RATE_HZ)), np.float32)
    assert found_in(song("a", silence), song("b", silence, split="valid")) == []


def test_matched_seconds_are_those_on_end():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 2**32, (2, 10 * FRAMES_A_SECOND), dtype=np.uint32)
    assert matched_s(a, b, offset=0) == 0
    b[64 : 64 + 5 * FRAMES_A_SECOND] = a[32 : 32 + 5 * FRAMES_A_SECOND]
    assert matched_s(a, b, offset=32) == 5
    assert matched_s(b, a, offset=-32) == 5
    assert matched_s(a, b, offset=500) == 0

"""`viso data check`: faults put into songs on disk, each reported once, and exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from viso.cli import app
from viso.train.data.corpus import CorpusWriter, Track
from viso.train.data.lint import lint, songs_of_items
from viso.train.data.lint.sound import shifted
from viso.train.data.readers import items_in

RATE_HZ = 16_000
SECONDS = 6


def stem(seed, n_channels=2, seconds=SECONDS):
    """Swelling noise with the slope of music, RMS about 0.05."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal((n_channels, n)))
    spectrum /= np.sqrt(np.arange(1, spectrum.shape[1] + 1))
    spectrum[:, : 40 * n // RATE_HZ] = 0
    swell = 1.1 + np.sin(2 * np.pi * np.arange(n) / RATE_HZ * rng.uniform(0.5, 1.5) + seed)
    sound = np.fft.irfft(spectrum, n) * swell
    return (0.05 * sound / sound.std()).astype(np.float32)


def put(path, audio, *, rate_hz=RATE_HZ):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate_hz, subtype="FLOAT")


def write_song(folder, seed, **changed):
    """Write a song with its mixture; a changed stem differs from what is in the mixture."""
    vocals, music = stem(2 * seed), stem(2 * seed + 1)
    sounds = {"vocals": vocals, "instrumental": music, "mixture": vocals + music}
    for name, audio in {**sounds, **changed}.items():
        put(folder / f"{name}.wav", audio)
    return vocals, music


@pytest.fixture
def songs(tmp_path):
    for k, split in enumerate(("train", "train", "valid")):
        write_song(tmp_path / "set" / split / f"Singer {k} - Song {k}", k)
    return tmp_path / "set"


def findings_of(folder, **options):
    _, songs = songs_of_items(items_in(folder))
    return [finding for checked in lint(songs, **options) for finding in checked.findings]


def run(*words):
    return CliRunner().invoke(app, ["data", "check", *map(str, words)])


def test_clean_songs(songs):
    assert findings_of(songs) == []
    result = run(songs)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "3 songs checked, 0 faults, 0 notes"


def clip(audio):
    return np.clip(audio, -0.05, 0.05)


def with_nan(audio):
    audio[0, 99] = np.nan
    return audio


FAULTS = {
    "silence": (lambda v, m: {"instrumental": 0 * m, "mixture": v}, "instrumental", "note"),
    "clipping": (lambda v, m: {"vocals": clip(v), "mixture": clip(v) + m}, "vocals", "fault"),
    "dc-offset": (lambda v, m: {"vocals": v + np.float32(0.02)}, "vocals", "fault"),
    "not-finite": (lambda v, m: {"vocals": with_nan(v)}, "vocals.wav", "fault"),
    "length": (lambda v, m: {"vocals": v[:, : -RATE_HZ // 2]}, "", "fault"),
    "sum": (lambda v, m: {"mixture": v + m + stem(99)}, "mixture", "fault"),
    "alignment": (lambda v, m: {"vocals": shifted(v, -1105)}, "vocals", "fault"),
    "bleed": (
        lambda v, m: {"instrumental": m + np.float32(0.1) * v, "mixture": np.float32(1.1) * v + m},
        "instrumental",
        "fault",
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_reported_once_and_alone(songs, check):
    change, role, severity = FAULTS[check]
    folder = songs / "train" / "Singer 1 - Song 1"
    write_song(folder, 1, **change(stem(2), stem(3)))
    (finding,) = findings_of(songs)
    assert (finding.check, finding.severity) == (check, severity)
    assert (finding.song, finding.role) == ("set/Singer 1 - Song 1", role)
    result = run(songs)
    assert result.exit_code == (1 if severity == "fault" else 0)
    assert finding.message in result.stdout


@pytest.mark.parametrize(
    ("check", "number"),
    [("alignment", "1105 samples (69.1 ms) late"), ("length", "8000 samples"), ("bleed", "at -20")],
)
def test_messages_have_the_number(songs, check, number):
    change, _, _ = FAULTS[check]
    write_song(songs / "train" / "Singer 1 - Song 1", 1, **change(stem(2), stem(3)))
    (finding,) = findings_of(songs)
    assert number in finding.message


def test_a_limited_mixture_is_no_fault(songs):
    vocals, music = stem(2), stem(3)
    mixture = np.float32(0.3) * np.tanh((vocals + music) / np.float32(0.3))
    write_song(songs / "train" / "Singer 1 - Song 1", 1, mixture=mixture)
    assert not [f for f in findings_of(songs) if f.severity == "fault"]


def test_a_broken_file_does_not_stop_the_others(songs):
    (songs / "train" / "Singer 0 - Song 0" / "vocals.wav").write_bytes(b"RIFF, but not for long")
    change, _, _ = FAULTS["alignment"]
    write_song(songs / "train" / "Singer 1 - Song 1", 1, **change(stem(2), stem(3)))
    found = {(f.check, f.song, f.role) for f in findings_of(songs)}
    assert found == {
        ("decode", "set/Singer 0 - Song 0", "vocals.wav"),
        ("alignment", "set/Singer 1 - Song 1", "vocals"),
    }


def test_rates(songs):
    folder = songs / "train" / "Singer 1 - Song 1"
    put(folder / "vocals.wav", stem(2), rate_hz=RATE_HZ * 2)
    checks = {(f.check, f.severity, f.role) for f in findings_of(songs)}
    assert ("rate", "fault", "vocals") in checks or ("rate", "fault", "instrumental") in checks
    wrong = [f for f in findings_of(songs, rate_hz=44_100) if f.check == "rate"]
    assert sum(f.severity == "fault" for f in wrong) == 9
    assert "44100 Hz" in wrong[0].message


def test_copies_and_singers_across_splits(songs):
    write_song(songs / "valid" / "Singer 0 - Other", 0)
    found = {(f.check, f.severity, f.song, f.role) for f in findings_of(songs)}
    assert found == {
        ("duplicate", "fault", "set/Singer 0 - Other", "vocals"),
        ("duplicate", "fault", "set/Singer 0 - Other", "instrumental"),
        ("singer", "note", "Singer 0", "vocals"),
    }


def test_upsampled_sound_is_a_note(tmp_path):
    with CorpusWriter(tmp_path, rate_hz=48_000) as writer:
        t = np.arange(4 * 48_000) / 48_000
        audio = sum(0.1 * np.sin(2 * np.pi * f * t) for f in (300, 2000, 7900))[np.newaxis]
        track = Track(song="s", role="vocals", group="g", n_channels=1, bandwidth_hz=8000)
        writer.add(track, [audio.astype(np.float32)])
    result = run(tmp_path, "--json")
    assert result.exit_code == 0
    (finding,) = map(json.loads, result.stdout.splitlines())
    assert (finding["check"], finding["severity"], finding["song"]) == ("bandwidth", "note", "g")
    assert "8.0 kHz" in finding["message"]


def test_a_corpus_with_a_leak(tmp_path):
    with CorpusWriter(tmp_path, rate_hz=RATE_HZ) as writer:
        vocals, music = stem(1), stem(2)
        for role, audio in (("vocals", vocals), ("instrumental", music + np.float32(0.3) * vocals)):
            track = Track(song="s", role=role, group="g", n_channels=2, bandwidth_hz=8000)
            writer.add(track, [audio])
    result = run(tmp_path, "--json")
    assert result.exit_code == 1
    (finding,) = map(json.loads, result.stdout.splitlines())
    assert (finding["check"], finding["role"]) == ("bleed", "instrumental")


def test_wrong_usage(tmp_path):
    assert run().exit_code == 2
    assert run(tmp_path, "--rate", "0").exit_code == 2
    missing = run(tmp_path / "nothing")
    assert missing.exit_code == 1
    assert "no such folder" in str(missing.exception)

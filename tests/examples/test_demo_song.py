"""The demo song: exact sums, a voice that sings the melody, and a band that is always there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from helpers.checkout import ROOT
from viso.errors import ConfigError

Floats = npt.NDArray[np.float32]
RATE_HZ = 16_000


def _load() -> ModuleType:
    path = ROOT / "examples" / "demo_song.py"
    spec = importlib.util.spec_from_file_location("demo_song", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo_song = _load()


@pytest.fixture(scope="module")
def song() -> dict[str, Floats]:
    """Six seconds: a bar and a half of phrase, a rest, and the next phrase's beginning."""
    stems: dict[str, Floats] = demo_song.synthesise(6.0, rate_hz=RATE_HZ)
    return stems


def _level_db(sound: Floats) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) + 1e-12))


def _span(sound: Floats, start_s: float, end_s: float) -> Floats:
    return sound[:, round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]


def _pitch_hz(sound: Floats, *, low_hz: float = 240, high_hz: float = 900) -> tuple[float, float]:
    """Return the pitch at the first high peak of the autocorrelation, and the peak's height."""
    mono = sound.mean(axis=0, dtype=np.float64)
    spectrum = np.fft.rfft(mono, 2 * len(mono))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(mono)]
    correlation /= correlation[0] * (1 - np.arange(len(mono)) / len(mono))
    first, last = int(RATE_HZ / high_hz), int(RATE_HZ / low_hz)
    # Twice the period correlates as well as the period; the first peak is the pitch.
    is_high = correlation[first:last] > 0.9 * correlation[first:last].max()
    rises = np.diff(correlation[first - 1 : last]) > 0
    falls = np.diff(correlation[first : last + 1]) < 0
    lag = first + int(np.argmax(is_high & rises & falls))
    return RATE_HZ / lag, float(correlation[lag])


def _assert_sound(stems: dict[str, Floats], n: int) -> None:
    assert list(stems) == ["mixture", "vocals", "instrumental"]
    for stem in stems.values():
        assert stem.dtype == np.float32
        assert stem.shape == (2, n)
        assert np.isfinite(stem).all()
        assert np.abs(stem).max() < 1
    assert np.array_equal(stems["vocals"] + stems["instrumental"], stems["mixture"])
    assert np.abs(stems["mixture"]).max() == pytest.approx(0.9, abs=1e-6)


def test_the_stems_sum_to_the_mixture_on_a_grid_of_24_bits(song: dict[str, Floats]) -> None:
    _assert_sound(song, 6 * RATE_HZ)
    for stem in song.values():
        steps = stem.astype(np.float64) * 2**23
        assert np.array_equal(steps, np.rint(steps))


@pytest.mark.parametrize(
    ("duration_s", "rate_hz"),
    [(1.0, 44_100), (1.234567, 22_050), (1.5, 48_000), (2.0, 8000), (1.0, 4000), (1.1, 96_000)],
)
def test_any_length_and_rate(duration_s: float, rate_hz: int) -> None:
    stems = demo_song.synthesise(duration_s, rate_hz=rate_hz)
    _assert_sound(stems, round(duration_s * rate_hz))


def test_the_song_goes_round_and_stays_exact() -> None:
    stems = demo_song.synthesise(18.0, rate_hz=8000)
    _assert_sound(stems, 18 * 8000)
    # The second round has its first phrase too, one second after it began.
    assert _level_db(stems["vocals"][:, int(17.1 * 8000) : int(17.8 * 8000)]) > -40


def test_same_seed_same_song_other_seed_other_song() -> None:
    first, again = (demo_song.synthesise(1.5, rate_hz=8000) for _ in range(2))
    other = demo_song.synthesise(1.5, rate_hz=8000, seed=2)
    for name in first:
        assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


@pytest.mark.parametrize("duration_s", [0.99, 0, -3, float("nan"), float("inf")])
def test_an_impossible_length_is_named(duration_s: float) -> None:
    with pytest.raises(ConfigError, match=f"duration_s: {duration_s}"):
        demo_song.synthesise(duration_s)


def test_an_impossible_rate_is_named() -> None:
    with pytest.raises(ConfigError, match="rate_hz: 100 Hz"):
        demo_song.synthesise(rate_hz=100)


def test_the_voice_sings_the_melody(song: dict[str, Floats]) -> None:
    notes = [note for note in demo_song.sung_notes(5.9) if note.beats >= 0.5]
    assert len(notes) >= 8
    for note in notes:
        start_s = note.beat * demo_song.BEAT_S
        end_s = start_s + note.beats * demo_song.BEAT_S
        # The middle of the note: the glide is over, the next consonant has not begun.
        sung = _span(song["vocals"], end_s - 0.19, end_s - 0.11)
        pitch_hz, strength = _pitch_hz(sung)
        assert abs(12 * np.log2(pitch_hz / demo_song.hertz(note.midi))) < 1
        assert strength > 0.7


def test_the_voice_moves_within_a_long_note() -> None:
    voice = demo_song.contours(6.0, rng=np.random.default_rng(0))
    rate_hz = demo_song.CONTROL_HZ
    held = voice.pitch_hz[round(3.9 * rate_hz) : round(4.4 * rate_hz)]
    cents = 1200 * np.log2(held / np.median(held))
    assert 15 < np.ptp(cents) < 200
    assert np.ptp(voice.formants_hz[0]) > 300


def test_the_voice_rests_and_the_band_does_not(song: dict[str, Floats]) -> None:
    sung_db = _level_db(_span(song["vocals"], 2.0, 4.0))
    assert not _span(song["vocals"], 0.0, 0.4).any()
    assert _level_db(_span(song["vocals"], 4.95, 5.05)) < sung_db - 40
    for start_s in np.arange(0, 5.5, 0.5):
        assert _level_db(_span(song["instrumental"], start_s, start_s + 0.5)) > -30


def test_release_levels(song: dict[str, Floats]) -> None:
    ratio_db = _level_db(song["vocals"]) - _level_db(song["instrumental"])
    assert -7 < ratio_db < -1
    assert -22 < _level_db(song["mixture"]) < -10


def test_the_voice_is_in_the_middle_and_the_band_is_wide(song: dict[str, Floats]) -> None:
    def side_db(stem: Floats) -> float:
        return _level_db(stem[:1] - stem[1:]) - _level_db(stem[:1] + stem[1:])

    assert side_db(song["vocals"]) < -15
    assert side_db(song["instrumental"]) > side_db(song["vocals"]) + 3


def test_the_script_writes_three_files_that_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stems = demo_song.synthesise(1.5)
    monkeypatch.setattr(demo_song, "synthesise", lambda **_: stems)
    folder = tmp_path / "new" / "demo"
    monkeypatch.setattr(sys, "argv", ["demo_song.py", str(folder)])
    demo_song.main()
    assert len(capsys.readouterr().out.splitlines()) == 3
    read = {}
    for name, stem in stems.items():
        read[name], rate_hz = soundfile.read(folder / f"{name}.flac", dtype="int32")
        assert rate_hz == 44_100
        assert soundfile.info(folder / f"{name}.flac").subtype == "PCM_24"
        assert np.array_equal(read[name].T / 2.0**31, stem)
    assert np.array_equal(read["vocals"] + read["instrumental"], read["mixture"])

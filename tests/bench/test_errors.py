"""bench/errors.py: made sound whose error has one name only gets that name, and the right level."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from helpers.checkout import ROOT

pytest.importorskip("scipy")
sys.path.append(str(ROOT / "bench"))

import errors
from failures.division import KINDS, divide
from failures.names import failures_of
from failures.pictures import Song, worst_part
from helpers.small_models import song
from viso.audio import write
from viso.metrics import usdr

RATE = 44_100
TIME = np.arange(2 * RATE) / RATE


def tone(hertz, *, level=0.2, envelope=1.0, side=False):
    """A tone in the middle, or at the sides in opposite phase."""
    wave = level * envelope * np.sin(2 * np.pi * hertz * TIME)
    return np.stack([wave, -wave if side else wave]).astype(np.float32)


def clicks():
    wave = np.zeros_like(TIME)
    wave[RATE // 8 :: RATE // 4] = 1.0
    return np.stack([wave, wave]).astype(np.float32)


def measure(vocals, music, estimate):
    return divide(vocals, music, estimate.astype(np.float32), rate_hz=RATE)


def failures(vocals, music, estimate):
    return failures_of(measure(vocals, music, estimate))


VOICE, MUSIC = tone(440), tone(3000)


def test_music_that_leaks_is_leak_at_its_level_and_pitch():
    division = measure(VOICE, MUSIC, VOICE + 0.5 * MUSIC)
    assert division.percent("leak") > 99
    assert division.percent("leak", region=3, place=0) > 99
    assert division.total("leaked") / division.total("instrumental") == pytest.approx(0.25, 0.01)
    assert division.total("missing") < 1e-4 * division.total("vocals")
    assert failures_of(division)["guitars and keys"] > 99


def test_half_a_voice_is_lost_at_its_level_and_pitch():
    division = measure(VOICE, MUSIC, 0.5 * VOICE)
    assert division.percent("lost") > 99
    assert division.percent("lost", region=1, place=0) > 98
    assert division.total("missing") / division.total("vocals") == pytest.approx(0.25, 0.01)
    assert division.total("leaked") < 1e-4 * division.total("instrumental")
    assert failures_of(division)["held notes"] > 90


def test_bass_and_drums_that_leak_are_told_apart():
    bass = tone(80)
    assert failures(VOICE, bass, VOICE + 0.3 * bass)["low tones"] > 99
    assert failures(VOICE, clicks(), VOICE + 0.3 * clicks())["drums"] > 80


def test_music_after_the_last_word_leaks_in_a_pause():
    vocals = tone(440, envelope=TIME < 0.8)
    leak = 0.3 * MUSIC * (TIME > 1.2)
    assert failures(vocals, MUSIC, vocals + leak)["music in pauses"] > 99


def test_a_tail_that_is_cut_off_is_a_lost_tail():
    decay = np.where(TIME < 1, 1, 10 ** (-60 * (TIME - 1) / 20))
    vocals = tone(440, envelope=decay)
    cut = vocals * (TIME < 1.25)  # 15 dB down
    shares = failures(vocals, MUSIC, cut)
    assert shares["tails"] > 90
    assert shares["held notes"] < 5


def test_a_lost_second_voice_at_the_sides_is_a_wide_voice():
    double = tone(700, level=0.08, side=True)
    assert failures(VOICE + double, MUSIC, VOICE)["wide voices"] > 98


def test_a_lost_low_note_under_another_is_a_low_voice():
    assert failures(VOICE + tone(120, level=0.08), MUSIC, VOICE)["low voices"] > 98


def test_lost_hiss_is_a_lost_consonant():
    noise = np.random.default_rng(0).normal(0, 1, TIME.size)
    spectrum = np.fft.rfft(noise)
    spectrum[: 6000 * 2] = 0  # bins of half a hertz
    hiss = 0.1 * np.fft.irfft(spectrum, TIME.size) * (np.abs(TIME - 1) < 0.1)
    vocals = (VOICE + hiss).astype(np.float32)
    assert failures(vocals, tone(100), VOICE)["consonants"] > 90


def test_what_is_lost_where_a_word_begins_is_an_onset_and_later_is_not():
    vocals = tone(440, envelope=np.where(TIME < 1, 0.15, 1.0))
    begun, later = (
        failures(vocals, MUSIC, vocals * np.where(np.abs(TIME - at) < 0.01, 0.6, 1.0))["onsets"]
        for at in (1.01, 1.5)
    )
    assert begun > 50
    assert later < 1


def test_a_phrase_taken_for_music_is_a_missed_voice():
    assert failures(VOICE, MUSIC, VOICE * (TIME < 1.2))["voices missed"] > 95


def test_a_phase_that_no_mask_makes_is_other():
    quarter = np.stack([0.2 * np.cos(2 * np.pi * 440 * TIME)] * 2)  # a quarter of a turn later
    division = measure(VOICE, 0 * MUSIC, 0.7 * VOICE + 0.5 * quarter)
    assert division.percent("other") == pytest.approx(100 * 0.25 / (0.25 + 0.09), abs=2)
    assert division.percent("lost") == pytest.approx(100 * 0.09 / (0.25 + 0.09), abs=2)


def test_perfect_and_silent_vocals_have_finite_shares():
    for vocals in (VOICE, 0 * VOICE):
        shares = failures(vocals, MUSIC, vocals)
        assert set(shares.values()) == {0.0}


@pytest.mark.parametrize("n_channels", [1, 2])
def test_shares_add_up_to_the_error_of_usdr_across_parts(n_channels):
    rate_hz = 8000  # 40 s are more than one part
    vocals, music, noise = (song(n_channels, 40 * rate_hz, seed=seed) for seed in range(3))
    estimate = 0.7 * vocals + 0.2 * music + 0.1 * noise
    division = divide(vocals, music, estimate, rate_hz=rate_hz)
    error = sum(division.total(kind) for kind in KINDS)
    assert division.usdr_db == usdr(vocals, estimate)
    assert 10 * np.log10(division.total("vocals") / error) == pytest.approx(
        division.usdr_db, abs=0.02
    )
    assert sum(failures_of(division).values()) == pytest.approx(100)


def test_no_mask_is_below_the_floor_and_the_best_one_is_on_it():
    vocals, music = song(seed=1), song(seed=2)
    half = divide(vocals, music, 0.5 * (vocals + music), rate_hz=RATE)
    assert 0 < half.total("floor") < sum(half.total(kind) for kind in KINDS)
    apart = measure(VOICE, MUSIC, VOICE)  # nothing overlaps
    assert apart.total("floor") < 1e-4 * apart.total("vocals")


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        measure(VOICE, MUSIC, VOICE[:, :-1])


def test_a_picture_shows_where_the_error_is():
    vocals = np.zeros((2, 30 * 1000), np.float32)
    estimate = vocals.copy()
    estimate[:, 21_000] = 1
    part = worst_part(Song(vocals, vocals, estimate, 1000), longest_s=5)
    assert part.stop - part.start == 5000
    assert part.start <= 21_000 < part.stop


def test_command_writes_tables_figures_and_pictures_of_the_worst(tmp_path, mask_model):
    data, out = tmp_path / "songs", tmp_path / "out"
    for number, name in enumerate(("One - A", "Two - B")):
        (data / name).mkdir(parents=True)
        for stem, seed in (("vocals", 2 * number), ("drums", 2 * number + 1)):
            sound = song(2, RATE, seed=seed)
            write(data / name / f"{stem}.wav", sound, rate_hz=RATE, bit_depth="24")
    (tmp_path / "genres.csv").write_text("Track Name,Genre\nOne - A,Polka\n")
    words = [mask_model, "--data", data, "--genres", tmp_path / "genres.csv", "--songs", 1]
    errors.main([str(word) for word in [*words, "-o", out]])
    found = json.loads((out / "errors.json").read_text())["tiny"]
    worst = min(found, key=lambda name: found[name]["usdr_db"])
    assert [path.stem for path in out.glob("*.webp")] == [worst]
    for figures in found.values():
        assert sum(figures["failures_percent"].values()) == pytest.approx(100)
    page = (out / "errors.md").read_text()
    assert "| Polka | 1 |" in page
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_command_names_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        errors.main(["viso", "--data", str(tmp_path), "-o", str(tmp_path / "out")])
    assert stopped.value.code == 1
    assert "no song folder" in capsys.readouterr().err

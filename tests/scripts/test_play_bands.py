"""Composed music: scores without anything that sings, and the sound of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from helpers.checkout import ROOT
from viso.audio import read

pytest.importorskip("mido")
sys.path.insert(0, str(ROOT / "scripts"))

import play_bands
from bands import sound
from bands.score import Note, Part, Score, compose
from bands.styles import STYLES

SINGERS = {
    52,
    53,
    54,
    85,
    91,
}  # of General MIDI, from 0: choirs, voices, and leads and pads of them


def scores(n=60):
    return [compose(np.random.default_rng(k), length_s=40) for k in range(n)]


def test_nothing_sings():
    for style in STYLES.values():
        assert not SINGERS & {*style.bass, *style.guitars, *style.keys, *style.leads}
    for score in scores():
        assert not SINGERS & {part.program for part in score.parts}


def test_notes_lie_within_the_piece_and_in_reach():
    for score in scores():
        assert score.parts
        for part in score.parts:
            for note in part.notes:
                assert -0.1 <= note.beat < score.n_beats
                assert note.length > 0
                assert 20 <= note.pitch <= 110
                assert 1 <= note.velocity <= 127


def test_pieces_are_as_long_as_asked():
    for score in scores():
        assert score.n_beats * 60 / score.tempo_bpm == pytest.approx(40, abs=25)


def test_every_style_comes_and_heavy_ones_have_an_amplifier():
    drawn = scores(150)
    assert {score.style for score in drawn} == set(STYLES)
    for score in drawn:
        guitars = [part for part in score.parts if part.role == "guitar"]
        if score.style == "metal":
            assert all(part.amp for part in guitars)
        if score.style == "jazz":
            assert not any(part.amp for part in guitars)


def test_a_number_is_a_piece():
    one, again, other = (compose(np.random.default_rng(k), length_s=20) for k in (3, 3, 4))
    assert one == again
    assert one != other


def test_midi_ends_every_note_that_it_begins():
    g = np.random.default_rng(0)
    notes = [Note(0, 2, 60, 90), Note(1, 1, 64, 90), Note(2, 0.5, 40, 90, muted=True)]
    part = Part("lead", 40, notes, bends=True)
    file = sound.midi_of(part, Score("folk", 120, 4, [part]), g)
    sounding = set()
    for message in file.tracks[0]:
        assert message.time >= 0
        if message.type == "note_on":
            sounding.add((message.channel, message.note))
        elif message.type == "note_off":
            sounding.remove((message.channel, message.note))
        elif message.type == "pitchwheel":
            last_bend = message.pitch
    assert not sounding
    assert last_bend == 0
    assert file.length == pytest.approx(1.25, abs=0.05)
    muted = [m for m in file.tracks[0] if m.type == "note_on" and m.note == 40]
    assert muted[0].channel == 1


def test_drums_are_on_their_channel():
    part = Part("drums", None, [Note(0, 0.2, 36, 100)])
    file = sound.midi_of(part, Score("rock", 120, 4, [part]), np.random.default_rng(0))
    assert {m.channel for m in file.tracks[0] if m.type == "note_on"} == {9}


def test_the_amplifier_makes_harmonics_and_nothing_folds_back():
    n = 44_100
    tone = np.sin(2 * np.pi * 3000 * np.arange(n) / n).astype(np.float32)
    loud = sound.amplified(tone, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(loud * np.hanning(n))) ** 2
    assert power[8995:9006].max() > 1e-5 * power.max()
    # 27 kHz, the ninth harmonic, would lie at 17.1 kHz if it folded back.
    assert power[17_095:17_106].max() < 1e-9 * power.max()
    assert np.abs(loud).max() == pytest.approx(1, abs=1e-3)


@pytest.fixture
def tones(monkeypatch):
    """A synthesiser that plays each part as one tone."""

    def played(part, score, soundfont, g, block):
        n = round((score.n_beats * 60 / score.tempo_bpm + 1) * sound.RATE_HZ)
        hz = g.uniform(100, 1000)
        tone = np.sin(2 * np.pi * hz * np.arange(n) / sound.RATE_HZ)
        return np.stack([tone, tone]).astype(np.float32)

    monkeypatch.setattr(sound, "played", played)


def test_pieces_are_written_once(tmp_path, tones, capsys):
    soundfont = tmp_path / "any.sf2"
    soundfont.write_bytes(b"")
    words = [
        str(tmp_path / "out"),
        "--pieces",
        "2",
        "--seconds",
        "5",
        "--soundfont",
        str(soundfont),
    ]
    assert play_bands.main(words) == 0
    assert capsys.readouterr().out.count("bpm") == 2
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert sorted(before) == ["0000.flac", "0001.flac"]
    audio, rate_hz = read(tmp_path / "out/0000.flac")
    assert rate_hz == 44_100
    assert audio.shape[0] == 2
    assert 0.85 < np.abs(audio).max() <= 0.9001
    (tmp_path / "out/0001.flac").unlink()
    assert play_bands.main(words) == 0
    assert capsys.readouterr().out.count("bpm") == 1
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_without_the_instruments_the_way_to_them_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        play_bands.main([str(tmp_path / "out"), "--soundfont", str(tmp_path / "none.sf2")])
    assert "fluid-soundfont-gm" in capsys.readouterr().err

"""Music in which instruments sing: no voices, in register, with vibrato and glides that sound."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from helpers.checkout import ROOT

pytest.importorskip("mido")
pytest.importorskip("scipy")
sys.path.insert(0, str(ROOT / "scripts"))

import build_leads_valid
import play_leads
from bands.score import Note
from bands.sound import RATE_HZ
from leads import render, sampled, sung
from leads.instruments import HELD_OUT, INSTRUMENTS, SETS, SINGERS, VALID_SET
from leads.manner import MANNERS, draw_manner
from leads.performance import CONTROL_HZ, Performance, Played, perform
from leads.piece import KINDS, compose_piece
from leads.synth import MODELS, play_synthesised
from leads.tunes import Tune

SCALE = frozenset({0, 2, 4, 5, 7, 9, 11})
TUNE = Tune("a tune", tuple((0.125, 60 + step) for step in (0, 2, 4, 5, 7, 9, 11, 12)) * 4, 0)


def pieces(n=40, **how):
    return [compose_piece(np.random.default_rng(k), length_s=20, **how) for k in range(n)]


def leads_of(some):
    return [lead for piece in some for lead in piece.leads]


def test_nothing_sings():
    for instrument in INSTRUMENTS.values():
        assert not SINGERS & set(instrument.programs)
    for piece in pieces():
        assert not SINGERS & {part.program for part in piece.backing.parts}
        assert not SINGERS & {lead.program for lead in piece.leads}


@pytest.mark.parametrize("tune", [None, TUNE])
def test_leads_lie_where_voices_do(tune):
    for piece in pieces(tune=tune):
        assert piece.leads
        for lead in piece.leads:
            for note in lead.line:
                assert 51 <= note.pitch <= 84
                assert note.length > 0
        assert piece.tune == (tune.name if tune else None)


def test_notes_of_a_first_lead_are_as_long_as_syllables():
    seconds = [
        np.median([note.length for note in piece.leads[0].line]) * 60 / piece.tempo_bpm
        for piece in pieces()
        if piece.leads[0].line
    ]
    assert 0.1 < np.percentile(seconds, 5) < np.percentile(seconds, 95) < 1.2


def test_every_backing_comes_and_a_lead_alone_has_none():
    drawn = pieces(120)
    assert {piece.kind for piece in drawn} == set(KINDS)
    assert all(not piece.backing.parts for piece in drawn if piece.kind == "alone")
    assert all(piece.backing.parts for piece in drawn if piece.kind != "alone")


def test_held_out_instruments_are_in_no_training_piece_and_only_they_in_the_others():
    for piece in pieces(80):
        assert piece.backing_set != VALID_SET
        for lead in piece.leads:
            assert lead.instrument.name not in HELD_OUT
            assert lead.sample_set != VALID_SET
    for piece in pieces(40, held_out=True):
        assert piece.backing_set == VALID_SET
        for lead in piece.leads:
            assert lead.instrument.name in HELD_OUT or lead.sample_set == VALID_SET


def test_a_seed_is_a_piece():
    one, again, other = (
        compose_piece(np.random.default_rng(k), length_s=20, tune=TUNE) for k in (5, 5, 6)
    )
    assert one == again
    assert one != other


def performed(line, *, seed=0, **changes):
    g = np.random.default_rng(seed)
    manner = replace(draw_manner("bowed", g), ornament=0.0, scoop=0.0, drift_st=0.0, **changes)
    return perform(line, manner, g, tempo_bpm=60, length_s=4, scale=SCALE)


def track(audio):
    """Return MIDI pitch every 10 ms by autocorrelation."""
    n, hop = 2048, RATE_HZ // 100
    found = []
    for start in range(0, len(audio) - n, hop):
        frame = audio[start : start + n] * np.hanning(n)
        likeness = np.fft.irfft(np.abs(np.fft.rfft(frame, 4 * n)) ** 2)
        shortest = RATE_HZ // 1000
        lag = shortest + int(np.argmax(likeness[shortest : RATE_HZ // 100]))
        a, b, c = likeness[lag - 1 : lag + 2]
        exact = lag + 0.5 * (a - c) / (a - 2 * b + c)
        found.append(69 + 12 * np.log2(RATE_HZ / exact / 440))
    return np.array(found)


@pytest.mark.parametrize("model", ["fiddle", "theremin", "saw"])
def test_vibrato_is_in_the_sound(model):
    line = [Note(0, 4, 69, 110)]
    how = {"vibrato_st": 0.5, "vibrato_hz": 5.5, "vibrato_after_s": 0.3}
    performance = performed(line, seed=3, glide=0.0, **how)
    pitch = track(play_synthesised(performance, model, np.random.default_rng(0))[0])
    late = pitch[120:360] - np.mean(pitch[120:360])
    power = np.abs(np.fft.rfft(late * np.hanning(len(late)))) ** 2
    hz = np.fft.rfftfreq(len(late), 0.01)
    assert 4.5 < hz[1 + np.argmax(power[1:])] < 7
    assert 0.15 < late.std() * np.sqrt(2) < 0.9
    assert np.ptp(pitch[5:20]) < 0.25  # the vibrato sets in later
    assert np.mean(pitch[120:360]) == pytest.approx(69, abs=0.15)


def test_glides_are_in_the_sound():
    line = [Note(0, 2, 62, 110), Note(2, 2, 69, 110)]
    performance = performed(line, glide=1.0, glide_s=0.3, legato=1.0, vibrato_st=0.0)
    assert performance.notes[1].tied
    pitch = track(play_synthesised(performance, "theremin", np.random.default_rng(0))[0])
    between = pitch[150:260]
    assert np.sum((between > 63) & (between < 68)) >= 5
    assert pitch[140] == pytest.approx(62, abs=0.2)
    assert pitch[300] == pytest.approx(69, abs=0.2)


@pytest.mark.parametrize("name", sorted(MANNERS))
def test_a_performance_is_sane(name):
    g = np.random.default_rng(1)
    line = [Note(0.5 * k, 0.5, 60 + k % 7, 100) for k in range(6)] + [Note(4, 2, 67, 100)]
    heard = perform(line, draw_manner(name, g), g, tempo_bpm=60, length_s=8, scale=SCALE)
    assert len(heard.pitch) == len(heard.loudness) == round(8 * CONTROL_HZ)
    assert 0 <= heard.loudness.min() <= heard.loudness.max() <= 1
    assert heard.loudness.max() > 0.2
    assert np.abs(heard.pitch - 63).max() < 12
    assert heard.loudness[round(7 * CONTROL_HZ) :].max() < 0.01  # after the last note
    for one, following in zip(heard.notes, heard.notes[1:], strict=False):
        assert one.on_s < one.off_s
        assert one.on_s < following.on_s


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_sounds_and_is_deterministic(model):
    performance = performed([Note(0, 1, 64, 110), Note(1, 1, 67, 110), Note(3, 1, 62, 110)])
    one, again = (play_synthesised(performance, model, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (2, 4 * RATE_HZ)
    assert np.isfinite(one).all()
    assert render.active_rms(one) > 0.01


def test_midi_ties_notes_by_the_wheel_and_ends_what_it_begins():
    n = round(3 * CONTROL_HZ)
    notes = [
        Played(0.1, 1, 60, 100, False),
        Played(1, 2, 64, 100, True),
        Played(2.2, 2.8, 60, 90, False),
    ]
    pitch = np.where(np.arange(n) < CONTROL_HZ, 60.0, 64.0)
    heard = Performance(notes, pitch, np.full(n, 0.5))
    track = sampled.midi_of(heard, program=40, bank=0, decays=False).tracks[0]
    assert [m.note for m in track if m.type == "note_on"] == [60, 60]
    assert all(m.time >= 0 for m in track)
    sounding = set()
    for message in track:
        if message.type == "note_on":
            sounding.add((message.channel, message.note))
        elif message.type == "note_off":
            sounding.remove((message.channel, message.note))
    assert not sounding
    assert max(m.pitch for m in track if m.type == "pitchwheel") == round(4 / 12 * 8191)


@pytest.fixture
def tones(monkeypatch):
    """A synthesiser that plays every sampled part as one tone."""

    def tone(n, hz):
        one = np.sin(2 * np.pi * hz * np.arange(n) / RATE_HZ).astype(np.float32)
        return np.stack([one, one])

    def lead(performance, soundfont, **how):
        return tone(round(performance.length_s * RATE_HZ), 440)

    def part(part, score, soundfont, g, block):
        return tone(round(score.n_beats * 60 / score.tempo_bpm * RATE_HZ), 200)

    monkeypatch.setattr(render, "play_sampled", lead)
    monkeypatch.setattr("bands.sound.played", part)


def test_levels_are_sane(tones):
    for k in range(6):
        piece = compose_piece(np.random.default_rng(k), length_s=6)
        audio = render.play_piece(piece, np.random.default_rng(k))
        assert audio.shape == (2, 6 * RATE_HZ)
        assert 0.85 < np.abs(audio).max() <= 0.9001
        assert render.active_rms(audio) > 0.03


@pytest.fixture
def soundfonts(tmp_path, monkeypatch):
    path = tmp_path / "any.sf2"
    path.write_bytes(b"")
    for name, of in SETS.items():
        monkeypatch.setitem(SETS, name, replace(of, path=path))


def test_pieces_are_written_once(tmp_path, tones, soundfonts, capsys):
    words = [str(tmp_path / "out"), "--pieces", "2", "--seconds", "4", "--no-tunes"]
    assert play_leads.main(words) == 0
    assert capsys.readouterr().out.count("bpm") == 2
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert sorted(before) == ["0000.flac", "0001.flac"]
    (tmp_path / "out/0001.flac").unlink()
    assert play_leads.main(words) == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_without_the_instruments_the_way_to_them_is_named(tmp_path, monkeypatch, capsys):
    for name, of in SETS.items():
        monkeypatch.setitem(SETS, name, replace(of, path=tmp_path / "none.sf2"))
    with pytest.raises(SystemExit):
        play_leads.main([str(tmp_path / "out")])
    assert "fluid-soundfont-gm" in capsys.readouterr().err


def singer(path, hz=220.0, seconds=40):
    """Write a voice of notes of 0.7 s with gaps of 0.3 s."""
    at = np.arange(seconds * RATE_HZ) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * k * hz * at) / k for k in range(1, 6)) * 0.3
    soundfile.write(path, (tone * (at % 1 < 0.7)).astype(np.float32), RATE_HZ)


@pytest.mark.parametrize("plan", ["together", "answers", "rests"])
def test_validation_songs(tmp_path, tones, monkeypatch, plan):
    monkeypatch.setattr(play_leads, "catalogue", lambda: (("a", None),))
    monkeypatch.setattr(play_leads, "read_tune", lambda *_: TUNE)
    singer(tmp_path / "voice.wav")
    built = [
        build_leads_valid.built(
            tmp_path / "voice.wav", plan, "thin", ("own erhu", None), np.random.default_rng(4)
        )
        for _ in range(2)
    ]
    (vocals, instrumental, piece, level_db), again = built
    np.testing.assert_array_equal(vocals, again[0])
    np.testing.assert_array_equal(instrumental, again[1])
    assert vocals.shape == instrumental.shape == (2, 24 * RATE_HZ)
    assert np.abs(vocals + instrumental).max() <= 0.9001
    assert -6 <= level_db <= 3
    ratio = render.active_rms(vocals) / render.active_rms(instrumental)
    assert 20 * np.log10(ratio) == pytest.approx(level_db, abs=0.1)
    assert piece.leads[0].instrument.name == "own erhu"
    level = np.abs(vocals[0]).reshape(-1, RATE_HZ // 2).max(axis=1)
    longest = max(len(run) for run in "".join("x" if x > 0.02 else " " for x in level).split("x"))
    assert longest >= {"together": 0, "answers": 2, "rests": 8}[plan]  # halves of a second


def test_only_the_first_part_of_a_singers_file_is_taken(tmp_path, tones, monkeypatch):
    monkeypatch.setattr(play_leads, "catalogue", lambda: (("a", None),))
    monkeypatch.setattr(play_leads, "read_tune", lambda *_: TUNE)
    singer(tmp_path / "a.wav", hz=220.0, seconds=20)
    singer(tmp_path / "e.wav", hz=330.0, seconds=20)
    both = [soundfile.read(tmp_path / name)[0] for name in ("a.wav", "e.wav")]
    soundfile.write(tmp_path / "voice.wav", np.concatenate(both), RATE_HZ)
    classes = []
    for used_s in (20.0, None):
        found = np.zeros(12)
        for k in range(4):
            vocals, *_ = build_leads_valid.built(
                tmp_path / "voice.wav", "together", "alone", ("own erhu", None),
                np.random.default_rng(k), used_s=used_s,
            )  # fmt: skip
            found += sung.pitch_classes(vocals[0])
        classes.append(found)
    assert classes[0][4] == 0 < classes[0][9]  # A, and no E
    assert classes[1][4] > 0


def test_a_lead_that_answers_is_silent_while_the_voice_sings():
    piece = compose_piece(np.random.default_rng(0), length_s=24, held_out=True)
    answering = build_leads_valid.answering(piece, [(2.0, 6.0), (10.0, 14.0)])
    per_s = piece.tempo_bpm / 60
    assert any(lead.line for lead in answering.leads)
    for lead in answering.leads:
        for note in lead.line:
            assert not 2.0 <= note.beat / per_s < 5.7
            assert not 10.0 <= note.beat / per_s < 13.7


def test_the_key_of_a_voice_is_found(tmp_path):
    singer(tmp_path / "voice.wav", hz=220.0, seconds=3)
    audio, _ = soundfile.read(tmp_path / "voice.wav", dtype="float32")
    assert np.argmax(sung.pitch_classes(audio)) == 9  # A
    counts = np.zeros(12)
    counts[[2, 4, 6, 7, 9, 11, 1]] = 1  # D major
    assert sung.transposition(counts, SCALE) == 2


def test_the_listed_singers_are_paths_of_recordings():
    lines = build_leads_valid.SINGERS.read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert len(listed) == len(set(listed)) >= 4
    assert all(line.startswith("singing/") for line in listed)

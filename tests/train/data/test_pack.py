"""Readers and packing: what of a folder ends up in a corpus, and how."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from viso.dsp.bandwidth import bandwidth_hz
from viso.errors import AudioError, DataError
from viso.train.data.corpus import Corpus
from viso.train.data.pack import groups_of, pack
from viso.train.data.readers import music_in, music_listed, songs_in, voices_in


def put(path, audio, *, rate_hz=44_100):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(audio).T, rate_hz, subtype="PCM_16")
    return path


def noise(n_channels, n_samples, seed):
    values = np.random.default_rng(seed).integers(-8000, 8000, (n_channels, n_samples))
    return (values / 32768).astype(np.float32)


def packed_from(items, folder, **options):
    steps = list(pack(items, folder, **options))
    corpus = Corpus(folder)
    assert [step.track for step in steps] == corpus.tracks
    assert not any(step.is_kept for step in steps)
    return corpus


def band_limited(top_hz, rate_hz, *, n_channels=2, seconds=2):
    white = np.random.default_rng(0).standard_normal((n_channels, seconds * rate_hz))
    spectrum = np.fft.rfft(white)
    spectrum[:, np.fft.rfftfreq(white.shape[1], 1 / rate_hz) > top_hz] = 0
    return (0.1 * np.fft.irfft(spectrum, white.shape[1])).astype(np.float32)


def test_song_of_two_stems(tmp_path):
    vocals, music = noise(1, 9000, 1), noise(2, 9000, 2)
    put(tmp_path / "songs" / "Anna - One" / "vocals.wav", vocals)
    put(tmp_path / "songs" / "Anna - One" / "instrumental.flac", music)
    put(tmp_path / "songs" / "Anna - One" / "mixture.wav", vocals + music)
    (tmp_path / "songs" / "notes.txt").write_text("not a song", encoding="utf-8")
    items = songs_in(tmp_path / "songs", group="g", split="valid", licence="CC0")
    corpus = packed_from(items, tmp_path / "corpus")
    assert [t.role for t in corpus.tracks] == ["vocals", "instrumental"]
    for track, sound in zip(corpus.tracks, (vocals, music), strict=True):
        assert (track.song, track.group, track.split) == ("g/Anna - One", "g", "valid")
        assert (track.singer, track.licence, track.release_level) == ("Anna", "CC0", True)
        np.testing.assert_array_equal(corpus.read(track), sound)


def test_several_stems_are_summed_and_have_the_levels_of_the_record(tmp_path):
    stems = {"vocals": noise(2, 5000, 1), "drums": noise(2, 5000, 2)}
    stems |= {"bass": noise(1, 5000, 3), "other": noise(2, 4990, 4)}
    for name, sound in stems.items():
        put(tmp_path / "songs" / "B" / f"{name}.wav", sound)
    corpus = packed_from(songs_in(tmp_path / "songs", group="g", split="train"), tmp_path / "c")
    vocals, music = corpus.tracks
    assert vocals.release_level
    assert music.release_level
    expected = sum(stems[name][:, :4990] for name in ("drums", "bass", "other"))
    np.testing.assert_array_equal(corpus.read(music), expected)
    np.testing.assert_array_equal(corpus.read(vocals), stems["vocals"])


@pytest.mark.parametrize("short", ["drums", "vocals"])
def test_stems_of_different_recordings_are_refused(tmp_path, short):
    for name in ("vocals", "drums", "bass"):
        put(
            tmp_path / "songs" / "B" / f"{name}.wav", noise(2, 9000 if name == short else 15_000, 1)
        )
    items = songs_in(tmp_path / "songs", group="g", split="train")
    with pytest.raises(DataError, match="g/B"):
        list(pack(items, tmp_path / "corpus"))
    assert not (tmp_path / "corpus" / "index.json").exists()


def test_folders_without_what_is_looked_for(tmp_path):
    put(tmp_path / "songs" / "only vocals" / "vocals.wav", noise(1, 100, 0))
    put(tmp_path / "songs" / "only music" / "drums.wav", noise(1, 100, 0))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "songs", tmp_path / "empty"):
        with pytest.raises(DataError, match=folder.name):
            songs_in(folder, group="g", split="train")
    for reader in (voices_in, music_in):
        with pytest.raises(DataError, match="empty"):
            reader(tmp_path / "empty", group="g")
    with pytest.raises(DataError, match="nothing to pack"):
        list(pack(iter(()), tmp_path / "corpus"))


def test_voices_and_music_are_found_at_any_depth(tmp_path):
    for name in ("b.wav", "deep/er/a.FLAC", "deep/c.ogg"):
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "files" / "readme.txt").touch()
    for reader, role in ((voices_in, "vocals"), (music_in, "instrumental")):
        items = reader(tmp_path / "files", group="g")
        assert [item.song for item in items] == ["g/b", "g/deep/c", "g/deep/er/a"]
        assert {(i.role, i.group, i.split, i.release_level) for i in items} == {
            (role, "g", "train", False)
        }


def test_two_tracks_of_one_name_are_refused(tmp_path):
    put(tmp_path / "v" / "a.wav", noise(1, 100, 0))
    put(tmp_path / "v" / "a.flac", noise(1, 100, 1))
    with pytest.raises(DataError, match=r"v/a: .*a\.flac .*a\.wav; rename"):
        list(pack(voices_in(tmp_path / "v", group="v"), tmp_path / "corpus"))


def table_of(path, rows):
    lines = ["package\tpath\tseconds\tbandwidth_hz\tsplit", *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_listed_music_takes_the_training_rows_that_are_there(tmp_path):
    rows = [
        ("game", "music/one/intro.wav", "1", "9000", "train"),
        ("game", "music/two/intro.wav", "1", "9000", "train"),
        ("game", "music/held.wav", "1", "9000", "valid"),
        ("game", "music/missing.wav", "1", "9000", "train"),
    ]
    for _, path, *_ in rows[:3]:
        put(tmp_path / "root" / path, noise(1, 100, 0))
    table = table_of(tmp_path / "t.tsv", rows)
    items = list(music_listed(table, root=tmp_path / "root", group="games", longest_s=2.0))
    assert [item.sources[0].path.relative_to(tmp_path / "root").as_posix() for item in items] == [
        "music/one/intro.wav",
        "music/two/intro.wav",
    ]
    assert len({item.song for item in items}) == 2
    assert {(i.role, i.group, i.split, i.longest_s) for i in items} == {
        ("instrumental", "games", "train", 2.0)
    }
    assert all("game" in item.licence for item in items)


def test_listed_music_that_cannot_be_used(tmp_path):
    table = table_of(tmp_path / "t.tsv", [("game", "nothing.wav", "1", "9000", "train")])
    with pytest.raises(DataError, match="fetch"):
        list(music_listed(table, root=tmp_path, group="g"))
    with pytest.raises(DataError, match="cannot be read"):
        list(music_listed(tmp_path / "no.tsv", root=tmp_path, group="g"))
    (tmp_path / "bad.tsv").write_text("file\tsplit\nx\ttrain", encoding="utf-8")
    with pytest.raises(DataError, match="columns"):
        list(music_listed(tmp_path / "bad.tsv", root=tmp_path, group="g"))


def test_the_middle_of_a_long_track_is_kept(tmp_path):
    sound = noise(2, 30_000, 0)
    put(tmp_path / "m" / "long.wav", sound, rate_hz=10_000)
    table = table_of(tmp_path / "t.tsv", [("p", "m/long.wav", "3", "9000", "train")])
    items = music_listed(table, root=tmp_path, group="g", longest_s=1.0)
    corpus = packed_from(items, tmp_path / "corpus", rate_hz=10_000)
    np.testing.assert_array_equal(corpus.read(corpus.tracks[0]), sound[:, 10_000:20_000])


@pytest.mark.parametrize("top_hz", [1000, 5000, 16_000])
def test_bandwidth_is_where_the_sound_ends(top_hz):
    assert bandwidth_hz(band_limited(top_hz, 44_100), rate_hz=44_100) == pytest.approx(
        top_hz, abs=150
    )


def test_bandwidth_of_sides_in_opposite_phase():
    left = band_limited(5000, 44_100, n_channels=1)[0]
    assert bandwidth_hz(np.stack([left, -left]), rate_hz=44_100) == pytest.approx(5000, abs=150)


def test_bandwidth_of_rare_bright_sound():
    """Bright in one frame of ten, as cymbals are: 100 frames of 1,000 could all lie between."""
    sound = band_limited(5000, 44_100)
    n_frames = 1000
    frames = np.resize(sound, n_frames * 4096).reshape(n_frames, 4096)
    bright = np.random.default_rng(0).standard_normal((n_frames, 4096)).astype(np.float32)
    frames[6::10] += bright[6::10]
    assert bandwidth_hz(frames.reshape(1, -1), rate_hz=44_100) == pytest.approx(22_050, abs=50)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_bandwidth_of_what_is_no_sound(value):
    audio = np.full((2, 8192), value, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        assert 0 < bandwidth_hz(audio, rate_hz=44_100) <= 22_050


@pytest.mark.parametrize("n_samples", [0, 100, 50_000])
def test_bandwidth_of_silence_is_no_limit(n_samples):
    assert bandwidth_hz(np.zeros((2, n_samples), np.float32), rate_hz=44_100) == 22_050


def test_a_narrow_file_is_resampled_and_known_as_narrow(tmp_path):
    t = np.arange(32_000) / 16_000
    sound = 0.1 * np.sin(2 * np.pi * 1000 * t)[None] + band_limited(7900, 16_000, n_channels=1)
    put(tmp_path / "v" / "a.wav", sound, rate_hz=16_000)
    corpus = packed_from(voices_in(tmp_path / "v", group="v"), tmp_path / "corpus")
    track = corpus.tracks[0]
    assert (track.n_channels, track.n_samples) == (1, 88_200)
    assert track.bandwidth_hz == pytest.approx(7900, abs=150)
    spectrum = np.abs(np.fft.rfft(corpus.read(track)[0]))
    assert np.argmax(spectrum) * 44_100 / 88_200 == pytest.approx(1000, abs=1)


def test_of_more_than_two_channels_the_front_pair_is_kept(tmp_path):
    sound = noise(6, 3000, 0)
    put(tmp_path / "m" / "a.wav", sound)
    corpus = packed_from(music_in(tmp_path / "m", group="m"), tmp_path / "corpus")
    np.testing.assert_array_equal(corpus.read(corpus.tracks[0]), sound[:2])


def test_a_sum_above_full_scale_is_not_clipped(tmp_path):
    for n, name in enumerate(("drums", "bass", "other")):
        put(tmp_path / "s" / "A" / f"{name}.wav", 4 * noise(2, 5000, n))
    put(tmp_path / "s" / "A" / "vocals.wav", noise(2, 5000, 9))
    corpus = packed_from(songs_in(tmp_path / "s"), tmp_path / "corpus")
    expected = 4 * sum(noise(2, 5000, n) for n in range(3))
    vocals, music = corpus.tracks
    assert music.peak == np.abs(expected).max() > 1
    assert vocals.peak == 1
    np.testing.assert_allclose(corpus.read(music), expected, atol=music.peak / 32768)


def test_a_song_of_which_the_music_is_shorter_is_refused(tmp_path):
    put(tmp_path / "s" / "A" / "vocals.wav", noise(1, 44_100, 0))
    put(tmp_path / "s" / "A" / "instrumental.wav", noise(1, 30_000, 0))
    with pytest.raises(DataError, match=r"s/A: .* 1\.00, 0\.68 s"):
        list(pack(songs_in(tmp_path / "s"), tmp_path / "corpus"))


def test_a_file_that_is_no_sound_is_named(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.wav").write_text("words " * 1000, encoding="utf-8")
    with pytest.raises(AudioError, match=r"a\.wav"):
        list(pack(voices_in(tmp_path / "v"), tmp_path / "corpus"))


def test_groups_are_summed_up(tmp_path):
    put(tmp_path / "v" / "anna-1.wav", band_limited(5000, 44_100))
    put(tmp_path / "v" / "anna-2.wav", band_limited(7000, 44_100))
    put(tmp_path / "v" / "ben-1.wav", band_limited(9000, 44_100))
    put(tmp_path / "m" / "a.wav", band_limited(9000, 44_100))
    items = [*voices_in(tmp_path / "v"), *music_in(tmp_path / "m")]
    voices, music = groups_of(packed_from(items, tmp_path / "c").tracks, rate_hz=44_100)
    assert (voices.name, voices.role, voices.split) == ("v", "vocals", "train")
    assert (voices.n_tracks, voices.n_singers) == (3, 2)
    assert voices.hours == pytest.approx(6 / 3600)
    assert voices.bandwidth_hz == pytest.approx(7000, abs=150)
    assert (music.name, music.n_tracks, music.n_singers) == ("m", 1, 0)


@pytest.fixture
def voices(tmp_path):
    """Eight short files, some of them too loud for a corpus of peak 1, and in another rate."""
    for n in range(8):
        put(tmp_path / "v" / f"singer-{n}.wav", noise(1 + n % 2, 9000 + n, n), rate_hz=32_000)
    return voices_in(tmp_path / "v")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packing_goes_on_after_a_consumer_that_stopped(tmp_path, voices):
    list(pack(voices, tmp_path / "unbroken"))
    steps = pack(voices, tmp_path / "broken")
    for _ in range(3):
        next(steps)
    steps.close()
    again = list(pack(voices, tmp_path / "broken"))
    assert [step.is_kept for step in again] == [True] * 3 + [False] * 5
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_packing_goes_on_once_a_damaged_file_is_mended(tmp_path, voices):
    list(pack(voices, tmp_path / "unbroken"))
    path = tmp_path / "v" / "singer-5.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    with pytest.raises(AudioError, match="singer-5"):
        list(pack(voices, tmp_path / "broken"))
    path.write_bytes(whole)
    again = list(pack(voices, tmp_path / "broken"))
    assert sum(step.is_kept for step in again) == 5
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_a_file_that_has_changed_is_packed_anew(tmp_path, voices):
    steps = pack(voices, tmp_path / "broken")
    for _ in range(3):
        next(steps)
    steps.close()
    put(tmp_path / "v" / "singer-1.wav", noise(1, 12_000, 77), rate_hz=32_000)
    again = list(pack(voices, tmp_path / "broken"))
    assert [step.is_kept for step in again] == [True] + [False] * 7
    list(pack(voices, tmp_path / "unbroken"))
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_the_lengths_of_kept_stems_still_count(tmp_path):
    put(tmp_path / "s" / "A" / "vocals.wav", noise(1, 44_100, 0))
    put(tmp_path / "s" / "A" / "instrumental.wav", noise(1, 30_000, 0))
    steps = pack(songs_in(tmp_path / "s"), tmp_path / "corpus")
    next(steps)
    steps.close()
    steps = pack(songs_in(tmp_path / "s"), tmp_path / "corpus")
    assert next(steps).is_kept
    with pytest.raises(DataError, match="s/A"):
        next(steps)


PACK = """
import sys, time
from pathlib import Path
from viso.dsp.bandwidth import bandwidth_hz
from viso.train.data.pack import pack
from viso.train.data.readers import voices_in

for n, step in enumerate(pack(voices_in(Path(sys.argv[1])), Path(sys.argv[2]))):
    print(step.track.song, flush=True)
    if n == 6:
        time.sleep(300)  # it must not get to its end before it is killed
"""


def test_a_killed_process_loses_nothing_that_was_written(tmp_path, voices):
    list(pack(voices, tmp_path / "unbroken"))
    command = [sys.executable, "-c", PACK, str(tmp_path / "v"), str(tmp_path / "broken")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()  # SIGKILL, wherever it is by now
    assert told == ["v/singer-0", "v/singer-1", "v/singer-2"]
    assert not (tmp_path / "broken" / "index.json").exists()
    again = list(pack(voices, tmp_path / "broken"))
    assert 3 <= sum(step.is_kept for step in again) < 8
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")

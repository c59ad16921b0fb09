"""Readers and packing: what of a folder ends up in a corpus, and how."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from viso.errors import DataError
from viso.train.corpus import Corpus
from viso.train.pack import bandwidth_hz, music_in, music_listed, pack, songs_in, voices_in


def put(path, audio, *, rate_hz=44_100):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(audio).T, rate_hz, subtype="PCM_16")
    return path


def noise(n_channels, n_samples, seed):
    values = np.random.default_rng(seed).integers(-8000, 8000, (n_channels, n_samples))
    return (values / 32768).astype(np.float32)


def packed_from(items, folder, **options):
    tracks = list(pack(items, folder, **options))
    corpus = Corpus(folder)
    assert corpus.tracks == tracks
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
        assert (track.singer, track.licence, track.release_level) == ("Anna", "CC0", False)
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
    for folder in (tmp_path / "songs", tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(DataError, match=folder.name):
            list(songs_in(folder, group="g", split="train"))
    for reader in (voices_in, music_in):
        for folder in (tmp_path / "empty", tmp_path / "nowhere"):
            with pytest.raises(DataError, match=folder.name):
                list(reader(folder, group="g"))
    with pytest.raises(DataError, match="nothing to pack"):
        list(pack(iter(()), tmp_path / "corpus"))


def test_voices_and_music_are_found_at_any_depth(tmp_path):
    for name in ("b.wav", "deep/er/a.FLAC", "deep/c.ogg"):
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "files" / "readme.txt").touch()
    voices = list(voices_in(tmp_path / "files", group="v", licence="CC0"))
    assert [item.song for item in voices] == ["v/b", "v/deep/c", "v/deep/er/a"]
    assert {(i.role, i.group, i.split, i.licence) for i in voices} == {
        ("vocals", "v", "train", "CC0")
    }
    assert [item.singer for item in voices] == ["b", "c", "a"]
    music = list(music_in(tmp_path / "files", group="m"))
    assert [item.song for item in music] == ["m/b", "m/deep/c", "m/deep/er/a"]
    assert {(i.role, i.singer, i.release_level) for i in music} == {("instrumental", None, False)}


def test_two_tracks_of_one_name_are_refused(tmp_path):
    put(tmp_path / "v" / "a.wav", noise(1, 100, 0))
    put(tmp_path / "v" / "a.flac", noise(1, 100, 1))
    with pytest.raises(DataError, match="v/a"):
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
    assert [item.paths[0].relative_to(tmp_path / "root").as_posix() for item in items] == [
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
    assert bandwidth_hz(band_limited(top_hz, 44_100), 44_100) == pytest.approx(top_hz, abs=150)


def test_bandwidth_of_sides_in_opposite_phase():
    left = band_limited(5000, 44_100, n_channels=1)[0]
    assert bandwidth_hz(np.stack([left, -left]), 44_100) == pytest.approx(5000, abs=150)


@pytest.mark.parametrize("n_samples", [0, 100, 50_000])
def test_bandwidth_of_silence_is_no_limit(n_samples):
    assert bandwidth_hz(np.zeros((2, n_samples), np.float32), 44_100) == 22_050


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

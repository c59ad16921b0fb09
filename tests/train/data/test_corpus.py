"""Corpus: what is written is read, and nothing half-made is taken for whole."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from viso.errors import DataError
from viso.train.data.corpus import LEVEL_BLOCK, Corpus, CorpusWriter


def whole_numbers(n_channels, n_samples, seed):
    return np.random.default_rng(seed).integers(-32768, 32768, (n_channels, n_samples))


def cut(audio, sizes):
    stops = np.cumsum(sizes)
    return np.split(audio, stops[stops < audio.shape[1]], axis=1)


def test_every_value_of_every_track_comes_back(tmp_path, track):
    shapes = [(2, 10_000), (1, 7), (2, 4410), (1, 30_001)]
    wanted = [whole_numbers(*shape, seed) for seed, shape in enumerate(shapes)]
    with CorpusWriter(tmp_path, rate_hz=8000) as writer:
        for values in wanted:
            blocks = cut((values / 32768).astype(np.float32), [1, 4409, 0, 5000, 3])
            placed = writer.add(track(n_channels=len(values)), blocks)
            assert placed.n_samples == values.shape[1]
    corpus = Corpus(tmp_path)
    assert corpus.rate_hz == 8000
    assert corpus.tracks == writer.tracks
    for placed, values in zip(corpus.tracks, wanted, strict=True):
        read = corpus.read(placed)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read * 32768, values)


def test_what_is_louder_than_full_scale_is_not_clipped(tmp_path, packed):
    loud = np.random.default_rng(0).uniform(-2.5, 2.5, (2, 3 * LEVEL_BLOCK)).astype(np.float32)
    loud[1, 7] = -2.75
    corpus = packed(tmp_path, [({}, loud), ({}, loud / 4)])
    first, second = corpus.tracks
    assert (first.peak, second.peak) == (2.75, 1.0)
    np.testing.assert_allclose(corpus.read(first), loud, atol=2.75 / 32768)
    np.testing.assert_allclose(corpus.read(second), loud / 4, atol=0.5 / 32768)
    assert corpus.audio.min() == -32768
    blocks = loud.astype(np.float64).reshape(2, 3, LEVEL_BLOCK)
    expected = np.sqrt((blocks**2).mean(axis=(0, 2)))
    np.testing.assert_allclose(corpus.track_levels(first), expected, rtol=1e-5)


@pytest.mark.parametrize(("peak", "value"), [(1.0, 32767), (-1.0, -32768), (2.0, 32767)])
def test_a_peak_is_stored_as_the_largest_value_and_does_not_wrap(tmp_path, packed, peak, value):
    corpus = packed(tmp_path, [({}, np.array([[0.0, peak]], np.float32))])
    assert corpus.audio.tolist() == [0, value]
    assert corpus.read(corpus.tracks[0])[0, 1] == pytest.approx(peak, abs=2 / 32768)


def test_the_hash_of_a_track_is_that_of_its_bytes(tmp_path, packed):
    sounds = [whole_numbers(1, 500, n).astype(np.float32) / 32768 for n in range(2)]
    corpus = packed(tmp_path, [({}, sounds[0]), ({}, sounds[1]), ({}, sounds[0])])
    stored = (tmp_path / "audio.i16").read_bytes()
    for n, placed in enumerate(corpus.tracks):
        digest = hashlib.sha256(stored[n * 1000 : (n + 1) * 1000]).hexdigest()
        assert placed.sha256 == digest[:16]


def test_the_hash_of_a_corpus_tells_what_is_in_it(tmp_path, packed):
    sound = whole_numbers(1, 500, 0).astype(np.float32) / 32768
    first = packed(tmp_path / "a", [({"song": "x"}, sound)])
    same = packed(tmp_path / "b", [({"song": "x"}, sound)])
    assert len(first.hash) == 64
    assert int(first.hash, 16) >= 0
    assert first.hash == same.hash
    louder = sound.copy()
    louder[0, 77] += 1 / 32768
    changes = [({"song": "y"}, sound), ({"song": "x"}, louder), ({"song": "x"}, -sound)]
    changes.append(({"song": "x", "split": "valid"}, sound))
    hashes = {packed(tmp_path / "c", [change]).hash for change in changes}
    assert len(hashes | {first.hash}) == 5


def test_an_index_from_before_peaks_and_hashes_can_be_read(tmp_path, packed):
    sound = whole_numbers(2, 5000, 0).astype(np.float32) / 32768
    packed(tmp_path, [({}, sound)])
    path = tmp_path / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    for record in index["tracks"]:
        del record["peak"], record["sha256"]
    path.write_text(json.dumps(index), encoding="utf-8")
    corpus = Corpus(tmp_path)
    assert (corpus.tracks[0].peak, corpus.tracks[0].sha256) == (1.0, "")
    np.testing.assert_array_equal(corpus.read(corpus.tracks[0]), sound)


def test_levels_are_rms_of_whole_blocks(tmp_path, track):
    sounds = [
        np.random.default_rng(seed).uniform(-1, 1, (n_channels, n)).astype(np.float32)
        for seed, (n_channels, n) in enumerate([(2, 3 * LEVEL_BLOCK + 17), (1, 20), (1, 9999)])
    ]
    with CorpusWriter(tmp_path) as writer:
        for sound in sounds:
            writer.add(track(n_channels=len(sound)), cut(sound, [100, 6000, 4410, 1]))
    corpus = Corpus(tmp_path)
    for placed, sound in zip(corpus.tracks, sounds, strict=True):
        whole = sound.shape[1] // LEVEL_BLOCK
        blocks = sound[:, : whole * LEVEL_BLOCK].reshape(len(sound), whole, LEVEL_BLOCK)
        expected = np.sqrt((blocks.astype(np.float64) ** 2).mean(axis=(0, 2)))
        np.testing.assert_allclose(corpus.track_levels(placed), expected, rtol=1e-5)
    assert [t.n_levels for t in corpus.tracks] == [3, 0, 2]


def test_hours_are_told_by_role_group_and_split(tmp_path, packed):
    quarter = np.zeros((1, 2000), np.float32)
    corpus = packed(
        tmp_path,
        [
            ({"role": "vocals"}, quarter),
            ({"role": "vocals"}, quarter),
            ({"role": "vocals", "split": "valid"}, quarter),
            ({"role": "instrumental", "group": "games"}, quarter),
        ],
    )
    hour = pytest.approx(0.25 / 3600)
    assert corpus.hours() == {
        "vocals/songs/train": pytest.approx(0.5 / 3600),
        "vocals/songs/valid": hour,
        "instrumental/games/train": hour,
    }


def test_folder_without_a_corpus(tmp_path):
    with pytest.raises(DataError, match="no corpus here"):
        Corpus(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: "not json",
        lambda index: "[]",
        lambda index: json.dumps({**index, "format": 99}),
        lambda index: json.dumps({"format": 1, "rate_hz": 8000}),
        lambda index: json.dumps({**index, "rate_hz": "fast"}),
        lambda index: json.dumps({**index, "tracks": [{"song": "s"}]}),
        lambda index: json.dumps({**index, "tracks": [{**index["tracks"][0], "n_channels": 3}]}),
        lambda index: json.dumps({**index, "tracks": [{**index["tracks"][0], "offset": -1}]}),
        lambda index: json.dumps({**index, "tracks": [{**index["tracks"][0], "peak": 0.0}]}),
    ],
)
def test_damaged_index(tmp_path, packed, change):
    packed(tmp_path, [({}, np.zeros((1, 100), np.float32))])
    path = tmp_path / "index.json"
    path.write_text(change(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(DataError, match=r"index\.json"):
        Corpus(tmp_path)


@pytest.mark.parametrize("name", ["audio.i16", "levels.f32"])
@pytest.mark.parametrize("damage", ["short", "empty", "gone"])
def test_audio_that_does_not_fit_the_index(tmp_path, packed, name, damage):
    packed(tmp_path, [({}, np.zeros((2, 9000), np.float32))])
    path = tmp_path / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(whole[:-4] if damage == "short" else b"")
    with pytest.raises(DataError, match=name):
        Corpus(tmp_path)


def test_tracks_too_short_for_a_level_can_be_opened(tmp_path, packed):
    corpus = packed(tmp_path, [({}, np.zeros((1, 10), np.float32))])
    assert corpus.track_levels(corpus.tracks[0]).shape == (0,)


def test_a_failed_pack_leaves_nothing_that_looks_whole(tmp_path, track):
    with pytest.raises(KeyError), CorpusWriter(tmp_path / "new") as writer:
        writer.add(track(n_channels=1), [np.zeros((1, 5000), np.float32)])
        raise KeyError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_pack_leaves_the_old_corpus_as_it_was(tmp_path, packed, track):
    sound = whole_numbers(2, 6000, 0).astype(np.float32) / 32768
    opened = packed(tmp_path, [({}, sound)])
    with pytest.raises(KeyError), CorpusWriter(tmp_path) as writer:
        writer.add(track(n_channels=1), [np.zeros((1, 50), np.float32)])
        raise KeyError
    for corpus in (opened, Corpus(tmp_path)):
        np.testing.assert_array_equal(corpus.read(corpus.tracks[0]), sound)


def test_repacking_does_not_pull_the_audio_from_under_an_open_corpus(tmp_path, packed):
    sound = whole_numbers(2, 6000, 0).astype(np.float32) / 32768
    opened = packed(tmp_path, [({}, sound)])
    again = packed(tmp_path, [({}, sound[:1, :10])])
    np.testing.assert_array_equal(opened.read(opened.tracks[0]), sound)
    np.testing.assert_array_equal(again.read(again.tracks[0]), sound[:1, :10])


SOUNDS = [whole_numbers(2, 5000 + n, n).astype(np.float32) / 20_000 for n in range(4)]
KEYS = ["a", "b", "c", "d"]


def write_some(folder, track, keys, *, stop=None, rate_hz=8000):
    """Write what `keys` plan, up to a mistake at `stop`; return the songs found there before."""
    with CorpusWriter(folder, rate_hz=rate_hz, plan=keys) as writer:
        kept = [placed.song for placed in writer.tracks]
        for key in keys[len(kept) :]:
            if key == stop:
                raise KeyError(key)
            writer.add(track(song=key), [SOUNDS[KEYS.index(key)]])
    return kept


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def unbroken(tmp_path, track):
    write_some(tmp_path / "unbroken", track, KEYS)
    return contents(tmp_path / "unbroken")


@pytest.fixture
def broken(tmp_path, track):
    """A folder in which two of four tracks were written."""
    with pytest.raises(KeyError):
        write_some(tmp_path / "broken", track, KEYS, stop="c")
    return tmp_path / "broken"


def test_a_planned_writer_goes_on_where_it_was_interrupted(broken, unbroken, track):
    assert sorted(contents(broken)) == ["audio.i16.part", "journal.jsonl", "levels.f32.part"]
    assert write_some(broken, track, KEYS) == ["a", "b"]
    assert contents(broken) == unbroken


def spoil_last_line(folder):
    with (folder / "journal.jsonl").open("r+b") as file:
        file.seek(-9, 2)
        file.truncate()


def spoil_audio(folder):
    with (folder / "audio.i16.part").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"x")


def spoil_levels(folder):
    with (folder / "levels.f32.part").open("r+b") as file:
        file.truncate(4)


def tracks_in_the_middle(folder):
    for name in ("audio.i16.part", "levels.f32.part"):
        with (folder / name).open("ab") as file:
            file.write(b"half a track that was never finished")
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"key": "c", "levels": "0a')


@pytest.mark.parametrize(("damage", "kept"), [
    (spoil_last_line, ["a"]),
    (spoil_audio, ["a"]),
    (spoil_levels, ["a"]),
    (tracks_in_the_middle, ["a", "b"]),
    (lambda folder: (folder / "audio.i16.part").unlink(), []),
    (lambda folder: (folder / "journal.jsonl").unlink(), []),
    (lambda folder: (folder / "journal.jsonl").write_bytes(b"\xff\n[]\n"), []),
    (lambda folder: (folder / "journal.jsonl").write_bytes(b""), []),
])  # fmt: skip
def test_only_what_is_whole_is_kept(broken, unbroken, track, damage, kept):
    damage(broken)
    assert write_some(broken, track, KEYS) == kept
    assert contents(broken) == unbroken


@pytest.mark.parametrize(("keys", "kept"), [
    ("ba", []),
    ("ad", ["a"]),
    ("a", ["a"]),
    ("dab", []),
])  # fmt: skip
def test_another_plan_keeps_no_more_than_they_have_in_common(tmp_path, broken, track, keys, kept):
    assert write_some(broken, track, keys) == kept
    write_some(tmp_path / "direct", track, keys)
    assert contents(broken) == contents(tmp_path / "direct")


def test_another_rate_starts_anew(broken, track):
    assert write_some(broken, track, KEYS, rate_hz=16_000) == []
    assert Corpus(broken).rate_hz == 16_000


def test_a_corpus_can_be_read_while_its_successor_is_unfinished(tmp_path, packed, track):
    sound = whole_numbers(2, 6000, 0).astype(np.float32) / 32768
    packed(tmp_path, [({}, sound)])
    with pytest.raises(KeyError):
        write_some(tmp_path, track, KEYS, stop="b")
    corpus = Corpus(tmp_path)
    np.testing.assert_array_equal(corpus.read(corpus.tracks[0]), sound)
    assert write_some(tmp_path, track, KEYS) == ["a"]
    assert [t.song for t in Corpus(tmp_path).tracks] == KEYS


def test_nothing_is_left_of_a_writer_that_failed_at_its_first_track(tmp_path, track):
    with pytest.raises(KeyError):
        write_some(tmp_path / "new", track, KEYS, stop="a")
    assert contents(tmp_path / "new") == {}


@pytest.mark.parametrize("name", ["index.json", "audio.i16", "journal.jsonl", "song.wav"])
@pytest.mark.parametrize("plan", [None, ["key"]])
def test_a_folder_of_other_files_is_refused_and_stays_as_it_is(tmp_path, name, plan):
    (tmp_path / name).write_bytes(b'{"mine": 1}')
    with pytest.raises(DataError, match="holds other files"):
        CorpusWriter(tmp_path, plan=plan)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b'{"mine": 1}'


def test_a_link_in_the_place_of_sound_that_is_being_written_is_not_followed(tmp_path):
    mine = tmp_path / "mine.wav"
    mine.write_bytes(b"music")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "audio.i16.part").symlink_to(mine)
    with pytest.raises(DataError, match="is a link"):
        CorpusWriter(folder)
    assert mine.read_bytes() == b"music"

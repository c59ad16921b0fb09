"""Corpus: what is written is read, and nothing half-made is taken for whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from viso.errors import DataError
from viso.train.corpus import LEVEL_BLOCK, Corpus, CorpusWriter


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


def test_what_is_too_loud_is_clipped_not_wrapped(tmp_path, packed):
    corpus = packed(tmp_path, [({}, np.array([[1.0, 2.0, -1.0, -2.0]], np.float32))])
    assert corpus.audio.tolist() == [32767, 32767, -32768, -32768]


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

"""One song in every layout: each reader must give the same vocals and the same instrumental."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.multitrack_files import RATE_HZ, encode_tracks
from viso.errors import AudioError, DataError
from viso.train.data import readers
from viso.train.data.pack import pack
from viso.train.data.readers import Item, Source, items_in, left_out, load, musdb18

STEMS = ("drums", "bass", "other", "vocals")
TRAIN, VALID, HELD = "Anna - Sun", "Leaf - Summerghost", "Zoe - Never"


def sound(seed, n_channels=2, n_samples=40_000):
    """Smooth noise on the grid of 16 bits, so quiet that sums of stems are exact."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n_channels, n_samples + 8))
    smooth = np.stack([np.convolve(c, np.hanning(11)[1:-1], "valid") for c in white])
    return (np.rint(smooth * 0.15 / np.abs(smooth).max() * 32768) / 32768).astype(np.float32)


def song(seed):
    """The stems of a song."""
    return {name: sound(10 * seed + n) for n, name in enumerate(STEMS)}


SONGS = {name: song(n) for n, name in enumerate((TRAIN, VALID, HELD))}


def backing_of(stems):
    return stems["drums"] + stems["bass"] + stems["other"]


def mixture_of(stems):
    return backing_of(stems) + stems["vocals"]


def put(path, audio, *, rate_hz=RATE_HZ):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate_hz, subtype="PCM_16")
    return path


def put_all(folder, sounds):
    for name, audio in sounds.items():
        put(folder / f"{name}.wav", audio)


def write_musdb18(root):
    for part, name in (("train", TRAIN), ("train", VALID), ("test", HELD)):
        stems = SONGS[name]
        tracks = [mixture_of(stems), *(stems[stem] for stem in STEMS)]
        encode_tracks(root / part / f"{name}.stem.mp4", tracks)


def write_musdb18_hq(root):
    for part, name in (("train", TRAIN), ("train", VALID), ("test", HELD)):
        stems = SONGS[name]
        put_all(root / part / name, {**stems, "mixture": mixture_of(stems)})


def write_two_stems(root):
    for part, name in (("train", TRAIN), ("valid", VALID), ("test", HELD)):
        stems = SONGS[name]
        pair = {"vocals": stems["vocals"], "instrumental": backing_of(stems)}
        put_all(root / part / name, pair)


def write_one_folder(root):
    for name in (TRAIN, VALID):
        put_all(root / name, SONGS[name])
    put_all(root / "test" / HELD, SONGS[HELD])


def write_pair_folders(root):
    for part, name in (("train", TRAIN), ("valid", VALID), ("test", HELD)):
        stems = SONGS[name]
        put_all(root / part / name, {"vocals": stems["vocals"], "mixture": mixture_of(stems)})


def write_pairs_side_by_side(root):
    for name in (TRAIN, VALID):
        put(root / "mixture" / f"{name}.wav", mixture_of(SONGS[name]))
        put(root / "vocals" / f"{name}.flac", SONGS[name]["vocals"])
    put(root / "test" / "mixture" / f"{HELD}.wav", mixture_of(SONGS[HELD]))


def write_shared(root):
    for part, name in (("train", TRAIN), ("valid", VALID)):
        put_all(root / "songs" / part / name, SONGS[name])
    put(root / "singing" / "ravdess" / "actor01-00.wav", sound(91, 1))
    put(root / "singing" / "ravdess" / "actor01-01.wav", sound(92, 1))
    put(root / "singing" / "gtsinger" / "all-00.wav", sound(93, 1))
    put(root / "mixes" / "Bob - Whole" / "mixture.wav", sound(94))
    rows = ["package\tpath\tseconds\tbandwidth_hz\tsplit"]
    rows += ["game\tmusic/a.wav\t1\t9000\ttrain", "game\tmusic/gone.wav\t1\t9000\ttrain"]
    (root / "instrumentals.tsv").write_text("\n".join(rows), encoding="utf-8")
    put(root.parent / "unpacked" / "music" / "a.wav", sound(95))


# layout: what writes it, and whether its levels are those of a finished record
LAYOUTS = {
    "musdb18": (write_musdb18, True),
    "musdb18-hq": (write_musdb18_hq, True),
    "two stems": (write_two_stems, True),
    "one folder": (write_one_folder, True),
    "pair folders": (write_pair_folders, True),
    "pairs side by side": (write_pairs_side_by_side, True),
    "shared": (write_shared, True),
}


def as_read(path, *, track=0):
    return load(Item((Source(path, track),), "s", "vocals", "g", "train"), rate_hz=RATE_HZ)


def assert_same(found, truth, *, lossless):
    assert found.dtype == np.float32
    if lossless:
        np.testing.assert_array_equal(found, truth)
        return
    assert abs(found.shape[1] - truth.shape[1]) <= 1024
    n = min(found.shape[1], truth.shape[1])
    for one, other in zip(found[:, :n], truth[:, :n], strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.98
        spectrum = np.fft.rfft(one, 2 * n) * np.conj(np.fft.rfft(other, 2 * n))
        assert np.argmax(np.fft.irfft(spectrum)) == 0


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """A data set in one layout: its name, folder, and whether it has the record's levels."""
    write, release_level = LAYOUTS[request.param]
    root = tmp_path_factory.mktemp("sets") / "set"
    write(root)
    return request.param, root, release_level


def songs_of(items):
    found = {}
    for item in items:
        found.setdefault(item.song, {})[item.role] = item
    return {name: roles for name, roles in found.items() if len(roles) == 2}


def test_each_layout_gives_the_same_song(layout):
    name, root, release_level = layout
    songs = songs_of(items_in(root))
    group = "songs" if name == "shared" else "set"
    assert set(songs) == {f"{group}/{TRAIN}", f"{group}/{VALID}"}
    for song_name, split, singer in ((TRAIN, "train", "Anna"), (VALID, "valid", "Leaf")):
        truth = SONGS[song_name]
        expected = {"vocals": truth["vocals"], "instrumental": backing_of(truth)}
        for role, item in songs[f"{group}/{song_name}"].items():
            known = (item.role, item.group, item.split, item.singer, item.release_level)
            assert known == (role, group, split, singer, release_level)
            found = load(item, rate_hz=RATE_HZ)
            assert_same(found, expected[role], lossless=name != "musdb18")


def test_sources_sum_to_the_mixture_of_the_data_set(layout):
    name, root, _ = layout
    roles = songs_of(items_in(root))[f"{'songs' if name == 'shared' else 'set'}/{TRAIN}"]
    total = sum(load(item, rate_hz=RATE_HZ) for item in roles.values())
    assert_same(total, mixture_of(SONGS[TRAIN]), lossless=name != "musdb18")
    mixtures = {item.mixture for item in roles.values()}
    if name in ("musdb18", "musdb18-hq", "pair folders", "pairs side by side"):
        (mixture,) = mixtures
        own = as_read(mixture.path, track=mixture.track)
        assert_same(own, mixture_of(SONGS[TRAIN]), lossless=name != "musdb18")
    else:
        assert mixtures == {None}


def test_test_songs_are_left_out_and_that_is_said(layout):
    name, root, _ = layout
    items = items_in(root)
    assert not [item for item in items if HELD in item.song]
    if name != "shared":
        (line,) = [line for line in left_out(root) if "test" in Path(line.split(":")[0]).parts]
        assert "left out" in line
        with pytest.raises(DataError, match="never packed"):
            items_in(root / "test")


def test_each_layout_can_be_packed(layout, tmp_path):
    _, root, _ = layout
    items = items_in(root)
    tracks = [packed.track for packed in pack(items, tmp_path)]
    assert [(t.song, t.role, t.split) for t in tracks] == [(i.song, i.role, i.split) for i in items]


def test_a_split_can_be_named_itself(layout):
    name, root, _ = layout
    for part, song_name in (("train", TRAIN), ("valid", VALID)):
        folder = root / "songs" / part if name == "shared" else root / part
        if folder.is_dir():
            group = "songs" if name == "shared" else "set"
            found = {(i.song, i.split) for i in items_in(folder)}
            assert (f"{group}/{song_name}", part) in found


def test_musdb18_knows_its_14_validation_songs():
    assert len(musdb18.VALIDATION) == 14


def test_a_valid_folder_overrules_the_names_of_songs(tmp_path):
    put_all(tmp_path / "set" / "train" / VALID, SONGS[VALID])
    put_all(tmp_path / "set" / "valid" / TRAIN, SONGS[TRAIN])
    found = {(item.song, item.split) for item in items_in(tmp_path / "set")}
    assert found == {(f"set/{VALID}", "train"), (f"set/{TRAIN}", "valid")}


def test_songs_beside_a_valid_folder_are_for_training(tmp_path):
    put_all(tmp_path / "set" / TRAIN, SONGS[TRAIN])
    put_all(tmp_path / "set" / "valid" / HELD, SONGS[HELD])
    found = {(item.song, item.split) for item in items_in(tmp_path / "set")}
    assert found == {(f"set/{TRAIN}", "train"), (f"set/{HELD}", "valid")}


def test_the_shared_layout_as_a_whole(tmp_path):
    write_shared(tmp_path / "set")
    put_all(tmp_path / "set" / "songs" / "train" / "EIR - Iron", SONGS[HELD])
    items = items_in(tmp_path / "set", music_root=tmp_path / "unpacked", longest_s=0.5)
    assert Counter((i.group, i.role) for i in items) == {
        ("songs", "vocals"): 3,
        ("songs", "instrumental"): 3,
        ("ravdess", "vocals"): 2,
        ("gtsinger", "vocals"): 1,
        ("instrumentals", "instrumental"): 1,
    }
    singers = {item.song: item.singer for item in items}
    assert singers["ravdess/actor01-00"] == "actor01"
    assert singers["gtsinger/all-00"] is None
    licences = {item.song: item.licence for item in items}
    assert "MUSDB18" in licences[f"songs/{TRAIN}"]
    assert licences["songs/EIR - Iron"] == "CC0"
    assert licences["ravdess/actor01-00"] == "CC BY-NC-SA 4.0"
    assert licences["instrumentals/game/music/a"] == "package game"
    assert load(items[-1], rate_hz=RATE_HZ).shape == (2, RATE_HZ // 2)
    said = left_out(tmp_path / "set", music_root=tmp_path / "unpacked")
    assert any("mixes: 1 songs left out" in line for line in said)
    assert any("instrumentals.tsv: 1 tracks left out" in line for line in said)


def test_a_table_without_a_root_is_left_out_and_that_is_said(tmp_path):
    write_shared(tmp_path / "set")
    assert "instrumentals" not in {item.group for item in items_in(tmp_path / "set")}
    assert any("--music-root" in line for line in left_out(tmp_path / "set"))


def test_solo_voices_and_music(tmp_path):
    put(tmp_path / "v" / "anna" / "one.wav", sound(1, 1))
    put(tmp_path / "v" / "ben-01.wav", sound(2, 1))
    put(tmp_path / "v" / "someone.wav", sound(3, 2))
    put(tmp_path / "v" / "valid" / "cleo" / "one.wav", sound(4, 1))
    put(tmp_path / "v" / "test" / "one.wav", sound(5, 1))
    voices = readers.voices_in(tmp_path / "v", licence="CC0")
    known = {(i.song, i.split, i.singer, i.role, i.group, i.licence) for i in voices}
    common = ("vocals", "v", "CC0")
    assert known == {
        ("v/anna/one", "train", "anna", *common),
        ("v/ben-01", "train", "ben", *common),
        ("v/someone", "train", None, *common),
        ("v/valid/cleo/one", "valid", "cleo", *common),
    }
    loaded = {item.song: load(item, rate_hz=RATE_HZ) for item in voices}
    np.testing.assert_array_equal(loaded["v/anna/one"], sound(1, 1))
    np.testing.assert_array_equal(loaded["v/someone"], sound(3, 2))
    assert any("test" in line for line in left_out(tmp_path / "v"))
    music = readers.music_in(tmp_path / "v", group="m")
    assert {(i.role, i.group, i.singer, i.licence) for i in music} == {
        ("instrumental", "m", None, "unknown")
    }
    assert len(music) == 4


@pytest.mark.parametrize(("files", "way_out"), [
    (("a.wav", "b.wav"), "2 sound files .* --voices FOLDER .* --music FOLDER"),
    (("deep/er/a.wav",), "--voices"),
    (("vocals.wav", "drums.wav"), "one song; name the folder"),
    (("test/A/vocals.wav", "test/A/drums.wav"), "only a test set"),
    (("A/vocals.wav", "B/drums.wav"), "each needs a folder"),
    ((), r"no sound .* \.stem\.mp4"),
])  # fmt: skip
def test_folders_of_no_known_layout(tmp_path, files, way_out):
    (tmp_path / "set").mkdir()
    for name in files:
        put(tmp_path / "set" / name, sound(0, 1, 100))
    with pytest.raises(DataError, match=f"set: .*{way_out}"):
        items_in(tmp_path / "set")


def test_folders_that_are_not_there(tmp_path):
    for read in (items_in, readers.songs_in, readers.voices_in, readers.music_in):
        with pytest.raises(DataError, match="nowhere: no such folder"):
            read(tmp_path / "nowhere")


def test_what_has_no_partner_is_left_out_and_that_is_said(tmp_path):
    for name in ("A", "B"):
        put(tmp_path / "set" / "mixture" / f"{name}.wav", sound(0, 1, 100))
    put(tmp_path / "set" / "vocals" / "A.wav", sound(0, 1, 100))
    assert {item.song for item in items_in(tmp_path / "set")} == {"set/A"}
    (line,) = left_out(tmp_path / "set")
    assert "B.wav" in line
    put_all(tmp_path / "songs" / "A", SONGS[TRAIN])
    put(tmp_path / "songs" / "B" / "drums.wav", sound(0, 1, 100))
    (line,) = left_out(tmp_path / "songs")
    assert str(tmp_path / "songs" / "B") in line


def test_two_files_of_one_stem_are_refused(tmp_path):
    put_all(tmp_path / "set" / "A", SONGS[TRAIN])
    put(tmp_path / "set" / "A" / "Vocals.flac", sound(0))
    with pytest.raises(DataError, match=r"vocals\.wav.*take one away"):
        items_in(tmp_path / "set")


def test_names_of_mixtures_are_no_stems_and_accompaniment_is_all_of_them(tmp_path):
    stems = SONGS[TRAIN]
    extra = {"linear_mixture": mixture_of(stems), "accompaniment": backing_of(stems)}
    put_all(tmp_path / "set" / "A", {**stems, **extra})
    _, music = items_in(tmp_path / "set")
    np.testing.assert_array_equal(load(music, rate_hz=RATE_HZ), backing_of(stems))


def test_mono_goes_to_both_sides_of_a_stereo_sum(tmp_path):
    mono, stereo = sound(1, 1), sound(2, 2)
    paths = [put(tmp_path / "a.wav", mono), put(tmp_path / "b.wav", stereo)]
    item = Item(tuple(map(Source, paths)), "s", "instrumental", "g", "train")
    np.testing.assert_array_equal(load(item, rate_hz=RATE_HZ), mono + stereo)
    single = Item((Source(paths[0], sign=-1.0),), "s", "vocals", "g", "train")
    np.testing.assert_array_equal(load(single, rate_hz=RATE_HZ), -mono)


def test_all_sources_of_an_item_are_cut_at_one_place(tmp_path):
    long, short = sound(1, 2, 44_100), sound(2, 2, 44_000)
    paths = [put(tmp_path / "a.wav", long), put(tmp_path / "b.wav", short)]
    item = Item(tuple(map(Source, paths)), "s", "instrumental", "g", "train", longest_s=0.5)
    expected = (long[:, :44_000] + short)[:, 11_025 : 11_025 + 22_050]
    np.testing.assert_array_equal(load(item, rate_hz=RATE_HZ), expected)


def test_sources_of_different_lengths_and_missing_tracks(tmp_path):
    paths = [put(tmp_path / "a.wav", sound(1)), put(tmp_path / "b.wav", sound(2, 2, 30_000))]
    item = Item(tuple(map(Source, paths)), "the song", "instrumental", "g", "train")
    with pytest.raises(DataError, match=r"the song: .*a\.wav.*b\.wav.* 0\.91, 0\.68 s"):
        load(item, rate_hz=RATE_HZ)
    (tmp_path / "set").mkdir()
    encode_tracks(tmp_path / "set" / "A.stem.mp4", [sound(n) for n in range(3)])
    with pytest.raises(AudioError, match=r"A\.stem\.mp4: no audio track 4"):
        load(items_in(tmp_path / "set")[0], rate_hz=RATE_HZ)


def named(name, singer, *, split="train", roles=("vocals", "instrumental")):
    source = (Source(Path("x.wav")),)
    return [Item(source, name, role, "songs", split, singer) for role in roles]


def many(n_songs, n_singers):
    return [i for n in range(n_songs) for i in named(f"s{n}", f"singer {n % n_singers}")]


def test_a_tenth_of_the_songs_is_held_out_by_whole_singers():
    items, held = readers.hold_out(many(40, 20))
    assert 4 <= len(held) <= 5
    assert {i.song for i in items if i.split == "valid"} == set(held)
    singers = [{i.singer for i in items if i.split == split} for split in ("train", "valid")]
    assert not singers[0] & singers[1]
    assert len(items) == 80
    again, _ = readers.hold_out(many(40, 20)[::-1])
    assert {i.song for i in again if i.split == "valid"} == set(held)


@pytest.mark.parametrize("n_songs", [2, 3, 4])
def test_of_few_songs_one_is_held_out(n_songs):
    items, held = readers.hold_out(many(n_songs, n_songs))
    assert len(held) == 1
    assert {i.song for i in items if i.split == "valid"} == set(held)
    assert len({i.song for i in items if i.split == "train"}) == n_songs - 1


def test_what_has_a_split_is_too_little_or_of_one_singer_stays_as_it_is():
    for items in (
        many(20, 10) + named("v", "other", split="valid"),
        many(1, 1),
        many(3, 1),
        many(20, 1),
        [i for n in range(20) for i in named(f"s{n}", None, roles=("vocals",))],
    ):
        assert readers.hold_out(items) == (items, [])


def test_parts_are_the_sources_of_training_songs_that_are_sums():
    files = [Source(Path(f"{n}.wav")) for n in ("Drums", "bass")]
    tracks = [Source(Path("x.stem.mp4"), track=n) for n in (1, 2, 3)]
    items = [
        Item(tuple(files), "songs/a", "instrumental", "songs", "train", "A", release_level=True),
        Item(tuple(tracks), "m/b", "instrumental", "m", "train"),
        Item(tuple(files), "songs/v", "instrumental", "songs", "valid"),
        Item((files[0],), "songs/c", "instrumental", "songs", "train"),
        Item((files[0], Source(Path("v.wav"), sign=-1.0)), "p/d", "instrumental", "p", "train"),
        Item((files[0], files[1]), "songs/e", "vocals", "songs", "train"),
    ]
    found = readers.parts_of(items)
    assert [(i.song, i.group, i.sources) for i in found] == [
        ("songs/a/drums", "songs-drums", (files[0],)),
        ("songs/a/bass", "songs-bass", (files[1],)),
        ("m/b/drums", "m-drums", (tracks[0],)),
        ("m/b/bass", "m-bass", (tracks[1],)),
        ("m/b/other", "m-other", (tracks[2],)),
    ]
    assert found[0].singer == "A"
    assert found[0].release_level

"""Tags and covers travel from any format to any other, and the sound stays as it is."""

from __future__ import annotations

import base64

import mutagen.asf
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import mutagen.oggvorbis
import mutagen.wave
import numpy as np
import pytest

from viso.audio import AudioWriter, _encoders, copy_tags, read, read_cover, read_tags, write
from viso.errors import AudioError

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a")
SONG = {
    "title": "Über den Wolken",
    "artist": "A; B",
    "album": "歌",
    "albumartist": "All",
    "composer": "C",
    "date": "1999-02-03",
    "genre": "Rock",
    "tracknumber": "3/12",
    "discnumber": "1/2",
}
COVER = (b"\x89PNG" + bytes(range(256)) * 1000, "image/png")
EXTRA = {"viso_version": "1.2.3", "viso_model_sha256": "ab" * 32, "viso_stem": "vocals"}


def tag_with_mutagen(path):
    """Tag a file with mutagen and nothing of ours."""
    suffix = path.suffix[1:]
    if suffix in ("mp3", "wav"):
        tags = mutagen.id3.ID3() if suffix == "mp3" else mutagen.wave.WAVE(path)
        if suffix == "wav":
            tags.add_tags()
        frames = ("TIT2", "TPE1", "TALB", "TPE2", "TCOM", "TDRC", "TCON", "TRCK", "TPOS")
        for frame, (name, value) in zip(frames, SONG.items(), strict=True):
            text = "(17)" if name == "genre" else value.split("; ")
            (tags if suffix == "mp3" else tags.tags).add(getattr(mutagen.id3, frame)(3, text=text))
        picture = mutagen.id3.APIC(encoding=3, mime=COVER[1], type=3, desc="", data=COVER[0])
        other = mutagen.id3.APIC(encoding=3, mime="image/jpeg", type=4, desc="back", data=b"x")
        for frame in (other, picture):
            (tags if suffix == "mp3" else tags.tags).add(frame)
        tags.save(path)
    elif suffix == "m4a":
        file = mutagen.mp4.MP4(path)
        atoms = ("\xa9nam", "\xa9ART", "\xa9alb", "aART", "\xa9wrt", "\xa9day", "\xa9gen")
        for atom, value in zip(atoms, SONG.values(), strict=False):
            file[atom] = value.split("; ")
        file["trkn"], file["disk"] = [(3, 12)], [(1, 2)]
        file["covr"] = [mutagen.mp4.MP4Cover(COVER[0], mutagen.mp4.MP4Cover.FORMAT_PNG)]
        file.save()
    else:
        file = mutagen.File(path)
        for name, value in SONG.items():
            file[name.upper()] = value.split("; ")
        picture = mutagen.flac.Picture()
        picture.type, picture.mime, picture.data = 3, COVER[1], COVER[0]
        if suffix == "flac":
            file.add_picture(picture)
        else:
            file["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
        file.save()


@pytest.fixture(scope="module")
def songs(tmp_path_factory, noise):
    folder = tmp_path_factory.mktemp("tagged")
    for suffix in FORMATS:
        write(folder / f"bare.{suffix}", noise(2, 4001), rate_hz=48000)
        path = folder / f"song.{suffix}"
        path.write_bytes((folder / f"bare.{suffix}").read_bytes())
        tag_with_mutagen(path)
    return folder


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_from_every_format_to_every_other(songs, tmp_path, source, target):
    path = tmp_path / f"stem.{target}"
    path.write_bytes((songs / f"bare.{target}").read_bytes())
    before = read(path)[0]
    carried = copy_tags(songs / f"song.{source}", path, extra=EXTRA)
    assert carried == [*SONG, "cover"]
    found = read_tags(path)
    found.pop("encoder", None)  # libsndfile's own, in Ogg
    assert found == SONG | EXTRA
    assert read_cover(path) == COVER
    np.testing.assert_array_equal(read(path)[0], before)
    again = path.read_bytes()
    copy_tags(songs / f"song.{source}", path, extra=EXTRA)
    assert read_tags(path)["title"] == SONG["title"]
    if target == "wav":
        assert path.read_bytes() == again


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_tagged_song_is_read_like_a_bare_one(songs, suffix):
    np.testing.assert_array_equal(
        read(songs / f"song.{suffix}")[0], read(songs / f"bare.{suffix}")[0]
    )


def test_other_programs_find_the_tags_of_a_wav(songs, tmp_path):
    path = tmp_path / "stem.wav"
    path.write_bytes((songs / "bare.wav").read_bytes())
    copy_tags(songs / "song.mp3", path, extra=EXTRA)
    tags = mutagen.wave.WAVE(path).tags
    assert tags["TIT2"].text == [SONG["title"]]
    assert tags["TXXX:viso_stem"].text == ["vocals"]


def test_rf64_is_tagged_too(tmp_path, noise, songs, monkeypatch):
    monkeypatch.setattr(_encoders, "RIFF_LIMIT", 1000)
    path = tmp_path / "long.wav"
    write(path, noise(1, 5001), rate_hz=44100)
    assert read_tags(path) == {}
    before = read(path)[0]
    copy_tags(songs / "song.flac", path, extra=EXTRA)
    assert path.read_bytes()[:4] == b"RF64"
    assert read_tags(path) == SONG | EXTRA
    np.testing.assert_array_equal(read(path)[0], before)


@pytest.mark.parametrize("target", FORMATS)
def test_a_song_without_readable_tags_gives_only_ours(songs, tmp_path, target):
    (tmp_path / "words.mp3").write_bytes(b"ID3\x04\0\0\0\0\x0f\x7f" + b"\xff" * 50)
    for source in (tmp_path / "words.mp3", tmp_path / "missing.mp3", songs / "bare.wav"):
        path = tmp_path / f"stem.{target}"
        path.write_bytes((songs / f"bare.{target}").read_bytes())
        assert copy_tags(source, path, extra=EXTRA) == []
        found = read_tags(path)
        found.pop("encoder", None)
        assert found == EXTRA
        assert read_cover(path) is None


@pytest.mark.parametrize("target", FORMATS)
def test_tags_that_a_format_cannot_take_do_not_fail_the_run(songs, tmp_path, target):
    source = tmp_path / "odd.flac"
    source.write_bytes((songs / "bare.flac").read_bytes())
    file = mutagen.flac.FLAC(source)
    file["tracknumber"], file["date"], file["title"] = "1234567", "some day", "T"
    file["discnumber"] = "A"
    file.save()
    path = tmp_path / f"stem.{target}"
    path.write_bytes((songs / f"bare.{target}").read_bytes())
    copy_tags(source, path, extra=EXTRA)
    assert read_tags(path).items() >= EXTRA.items()
    np.testing.assert_array_equal(read(path)[0], read(songs / f"bare.{target}")[0])


def test_a_target_that_cannot_be_tagged_is_an_error(songs, tmp_path):
    (tmp_path / "words.flac").write_text("words")
    with pytest.raises(AudioError, match=r"words\.flac"):
        copy_tags(songs / "song.mp3", tmp_path / "words.flac", extra=EXTRA)
    with pytest.raises(AudioError, match=r"nothing\.wav"):
        copy_tags(songs / "song.mp3", tmp_path / "nothing.wav", extra=EXTRA)
    with pytest.raises(AudioError, match="no tags"):
        copy_tags(songs / "song.mp3", tmp_path / "a.xyz")
    with pytest.raises(AudioError, match=r"nothing\.wav"):
        read_tags(tmp_path / "nothing.wav")


def test_wma_tags(songs, tmp_path, noise, av_encode):
    source = tmp_path / "a.wma"
    av_encode(source, noise(2, 20_000), rate_hz=44100, codec="wmav2", form="asf")
    file = mutagen.asf.ASF(source)
    file["Title"], file["Author"] = "T", "A"
    file.save()
    path = tmp_path / "stem.flac"
    path.write_bytes((songs / "bare.flac").read_bytes())
    assert copy_tags(source, path) == ["title", "artist"]


def test_between_finish_and_commit(songs, tmp_path, noise):
    with AudioWriter(tmp_path / "stem.mp3", rate_hz=44100, n_channels=1) as writer:
        writer.write(noise(1, 3000))
        writer.finish()
        copy_tags(songs / "song.m4a", writer.temporary_path, extra=EXTRA)
    assert read_tags(tmp_path / "stem.mp3") == SONG | EXTRA
    assert read(tmp_path / "stem.mp3")[0].shape == (1, 3000)
